"""Models, rows and the peers' trainers for the benchmarks of training."""

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from haymaker.models.load import load_model
from haymaker.models.lora import add_lora, lora_parameters
from haymaker.records import Encoded

PEERS = ("HF Trainer", "TRL SFTTrainer")


def new_rows(count: int, length: int, answer: int, vocabulary: int) -> list[Encoded]:
    ids = torch.randint(3, vocabulary, (count, length), generator=torch.Generator().manual_seed(0)).tolist()
    return [Encoded(f"row-{i}", tuple(row), length - answer) for i, row in enumerate(ids)]


def new_model(layers: int, length: int, vocabulary: int, dtype: torch.dtype = torch.float32) -> Any:
    """A random Llama, hidden size 256, 8 heads over 4, adapted. The same numbers every time."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=256, intermediate_size=512, num_hidden_layers=layers,
        num_attention_heads=8, num_key_value_heads=4, head_dim=32, max_position_embeddings=length,
        tie_word_embeddings=True,
    )  # fmt: skip
    return adapted(LlamaForCausalLM(config).eval().to(dtype))


def real_model(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """A model that loads here, adapted."""
    return adapted(load_model(name, dtype=str(dtype).removeprefix("torch."), device="cpu").base)


def adapted(base: Any) -> Any:
    """With a LoRA adapter of rank 8 that is not at its start."""
    torch.manual_seed(0)
    model = add_lora(base, rank=8, alpha=16.0, seed=0)
    for weight in lora_parameters(model).values():
        weight.data.normal_(std=0.05)
    return model


def labelled(rows: list[Encoded]) -> dict[str, torch.Tensor]:
    """A batch as the peers collate it: the prompt's labels masked."""
    ids = torch.tensor([row.input_ids for row in rows])
    labels = ids.clone()
    for i, row in enumerate(rows):
        labels[i, : row.prompt_length] = -100
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def peer(name: str, model: Any, rows: list[Encoded], folder: str, **options: Any) -> Any:
    """HF Trainer, or TRL's SFTTrainer (extra `bench`), on a model with its adapter, without recomputation."""
    plain = {"output_dir": folder, "use_cpu": True, "report_to": [], "activation_checkpointing": False, "bf16": False}
    if name == "HF Trainer":
        from transformers import Trainer, TrainingArguments

        return trainable(Trainer(model=model, args=TrainingArguments(**plain | options)))
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found]

    from haymaker.models.packaged import MINIATURES

    batch = labelled(rows)
    given = Dataset.from_dict({key: batch[key].tolist() for key in ("input_ids", "labels")})
    settings = SFTConfig(**plain | options, max_length=None, dataset_kwargs={"skip_prepare_dataset": True})
    tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llama")
    return trainable(SFTTrainer(model=model, args=settings, train_dataset=given, processing_class=tokenizer))


def trainable(trainer: Any) -> Any:
    """A trainer may have frozen the adapter that it was given."""
    for weight in lora_parameters(trainer.model).values():
        weight.requires_grad_(True)
    trainer.model.eval()  # no dropout anywhere; as ours
    return trainer
