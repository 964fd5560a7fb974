"""Shapes of arrays are checked in every function that names one; plain types pyright proves.

Whatever is wrapped is slower by some ten microseconds a call: a third of the time of the tests of data was that.
"""

import re
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args

import jaxtyping

every = jaxtyping.jaxtyped


def check_shapes(home: Path) -> None:
    """Has the modules of the package at `home` checked that are imported from now on."""
    shaped = [path for path in home.rglob("*.py") if re.search(r"^from jaxtyping", path.read_text(), re.MULTILINE)]
    names = [".".join(path.relative_to(home.parent).with_suffix("").parts) for path in shaped]
    jaxtyping.jaxtyped = where_shaped  # the hook decorates every function with what has this name  # type: ignore
    jaxtyping.install_import_hook(names, "beartype.beartype")


def where_shaped(*, typechecker: Any) -> Callable[[Any], Any]:
    """The decorator that leaves a function or class without arrays as it is."""
    return lambda found: every(found, typechecker=typechecker) if names_arrays(found) else found


def names_arrays(found: Any) -> bool:
    """Whether arguments or the result of a function, or fields of a dataclass, are arrays with a shape."""
    if isinstance(found, type) and not is_dataclass(found):
        return False
    return any(map(holds_array, found.__annotations__.values()))


def holds_array(annotation: Any) -> bool:
    """Whether a type is an array with a shape, or made of one."""
    if isinstance(annotation, list):  # arguments of a Callable
        return any(map(holds_array, annotation))
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(holds_array, get_args(annotation)))
