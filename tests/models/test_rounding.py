import pytest
import torch

from haymaker.models.rounding import STEP, allowed_difference, relative_norm, rounding_difference, shaken

IDS = torch.arange(3, 19)[None]


def outputs_of(model):
    return lambda: model(input_ids=IDS).logits[0, -1]


def test_relative_norm_by_hand() -> None:
    assert relative_norm(torch.tensor([3.0, 8.0]), torch.tensor([3.0, 4.0])) == pytest.approx(0.8)  # 4 over 5


def test_embeddings_move_by_at_most_a_step_and_back(new_model) -> None:
    model = new_model()
    table = model.requires_grad_(False).get_input_embeddings()
    before = table(IDS)
    with shaken(model, seed=0):
        moved = table(IDS)
    assert 0 < float(((moved - before) / before).abs().max()) <= STEP * 1.001
    assert torch.equal(table(IDS), before)


def test_a_model_is_allowed_twice_its_noise_where_a_difference_asks_for_it(new_model) -> None:
    model = new_model()
    noise = rounding_difference(model, outputs_of(model))
    assert 0 < noise < 0.05
    assert allowed_difference(1.0, 1e-6, model, outputs_of(model)) == 2 * noise
    assert allowed_difference(20.0, 10.0, model, outputs_of(model)) == 10.0  # never less than what is allowed anyway
    assert allowed_difference(1e-7, 1e-6, model, outputs_of(model)) == 1e-6  # not measured where nothing asks for it
