"""What must hold before models are intervened on."""

from haymaker.errors import LengthError, ModelError
from haymaker.models.load import LanguageModel
from haymaker.records import Encoded


def check_ready(*models: LanguageModel) -> None:
    """Raise ModelError for a model in train mode: dropout would be on, and answers would be chance."""
    for lm in models:
        if lm.model.training:
            raise ModelError(f"{lm.name}: expected a model in eval mode, found it in train mode; call lm.model.eval()")


def check_pair(donor: LanguageModel, recipient: LanguageModel) -> None:
    """Raise ModelError where the heads or tokens of one model have no counterpart in the other."""
    shapes = [shape_of(lm) for lm in (donor, recipient)]
    if shapes[0] != shapes[1]:
        raise ModelError(
            f"patching needs two models of one shape (layers, heads, width of a head, vocabulary): donor {shapes[0]}, "
            f"recipient {shapes[1]}; use two adapters of one base model"
        )
    if donor.tokenizer is not recipient.tokenizer and donor.tokenizer.get_vocab() != recipient.tokenizer.get_vocab():
        raise ModelError(
            f"patching needs two models that read the same tokens: the tokenizers of {donor.name} and "
            f"{recipient.name} differ; use two adapters of one base model"
        )


def shape_of(lm: LanguageModel) -> tuple[int, int, int, int]:
    config = lm.base.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, config.num_attention_heads, width, config.vocab_size


def check_fits(item: Encoded, lm: LanguageModel) -> None:
    """Raise LengthError for a prompt and answer longer than the model's context."""
    if len(item) > lm.context:
        raise LengthError(
            f"{item.example_id}: {len(item)} tokens, but the model's context is {lm.context}; extend the model or "
            "build shorter rows"
        )
