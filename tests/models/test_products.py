"""Products by another library. Laws: the same numbers to rounding, this thread's alone, gradients where asked for."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional

from haymaker.models import products
from haymaker.models.generation import Decoder
from haymaker.models.products import fast_products, product, product_onto

pytestmark = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")),
    reason="torch without oneDNN",
)


@pytest.fixture(autouse=True)
def all_by_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "by_onednn", lambda: True)
    monkeypatch.setattr(products, "LEAST", 0)
    monkeypatch.setattr(products, "FEW_TOKENS", 0)


@pytest.mark.parametrize("tokens", [1, 7, 64])
@pytest.mark.parametrize(("dim", "out"), [(1, 3), (16, 1), (40, 24), (128, 65)])
def test_products_are_those_of_torch(tokens: int, dim: int, out: int) -> None:
    x, weight, bias, onto = (torch.randn(shape) for shape in ((tokens, dim), (out, dim), (out,), (tokens, out)))
    before = onto.clone()
    for given in (weight, weight.T.contiguous().T):  # also as a gradient multiplies it
        for added in (None, bias):
            torch.testing.assert_close(product(x, given, added), functional.linear(x, given, added))
        torch.testing.assert_close(product_onto(onto, x, given), onto + x @ weight.T)
    assert torch.equal(onto, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_torchs_own(dtype: torch.dtype) -> None:
    x, weight = torch.randn(5, 8, dtype=dtype), torch.randn(3, 8, dtype=dtype)
    assert torch.equal(product(x, weight), functional.linear(x, weight))


def test_a_model_reads_the_same(new_model, monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = new_model(), []
    inner = products.product
    monkeypatch.setattr(products, "product", lambda *given: calls.append(given) or inner(*given))
    prompts = [list(range(10, 40)), list(range(50, 73))]
    found = Decoder(model, prompts, proven=False).prefill()
    assert len(calls) == sum(type(module) is torch.nn.Linear for module in model.modules())
    monkeypatch.setattr(products, "by_onednn", lambda: False)
    torch.testing.assert_close(found, Decoder(model, prompts, proven=False).prefill())


def test_gradients_flow_where_they_are_asked_for(new_model) -> None:
    model = new_model()
    ids = torch.arange(10, 40)[None]
    with fast_products(ids.numel()):
        loss = model(input_ids=ids).logits.sum()
    loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize(("least", "few"), [(2**40, 0), (0, 30)])
def test_small_products_are_left(new_model, monkeypatch: pytest.MonkeyPatch, least: int, few: int) -> None:
    monkeypatch.setattr(products, "LEAST", least)
    monkeypatch.setattr(products, "FEW_TOKENS", few)
    monkeypatch.setattr(products, "product", None)  # not called
    Decoder(new_model(), [list(range(10, 40))], proven=False).prefill()


def test_another_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the model is replaced, so that threads which share it do not change each other's roundings."""
    monkeypatch.setattr(products, "product", None)
    x, weight = torch.randn(64, 32), torch.randn(16, 32)
    with fast_products(64), ThreadPoolExecutor(1) as pool, torch.no_grad():
        assert torch.equal(pool.submit(functional.linear, x, weight).result(), x @ weight.T)
