"""A module that runs another function inside a block is afterwards what it was before."""

import pytest
import torch
from torch import nn

from haymaker.models.forward import other_forwards


def test_modules_run_the_function_and_then_their_own_forward_again() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    ones = torch.ones(1, 2)
    plain = first(ones), second(ones)
    with other_forwards({first: lambda x: 2 * x}):
        assert torch.equal(first(ones), 2 * ones)
        assert torch.equal(second(ones), plain[1])
        with other_forwards({first: lambda x: 3 * x, second: lambda x: x}):
            assert torch.equal(first(ones), 3 * ones)
        assert torch.equal(first(ones), 2 * ones)
    assert torch.equal(first(ones), plain[0])
    assert "forward" not in vars(first)


@pytest.mark.parametrize("fails", [False, True])
def test_an_instance_keeps_the_forward_it_had(fails: bool) -> None:
    module = nn.Linear(2, 2)
    module.forward = own = lambda x: x + 1  # as accelerate does
    try:
        with other_forwards({module: lambda x: x}):
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    assert vars(module)["forward"] is own


def test_hooks_of_a_module_run_around_the_function() -> None:
    module, seen = nn.Linear(2, 2), []
    module.register_forward_hook(lambda _, __, output: seen.append(output))
    with other_forwards({module: lambda x: x}):
        module(torch.ones(1, 2))
    assert torch.equal(seen[0], torch.ones(1, 2))
