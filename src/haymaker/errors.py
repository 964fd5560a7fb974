"""Everything Haymaker raises on purpose.

HaymakerError
├── ConfigError         a config, recipe, flag or name that cannot be used
│   └── PluginError     what another package brings and that cannot be loaded or used
├── DataError           a file or row that is not what its format says
│   ├── LengthError     a row that does not fit its token budget or context
│   ├── LacksColumn     a row without a column that its layout needs
│   └── MissingKey      an object without a key that it needs
├── ModelError          a model or tokenizer that cannot be loaded or used as asked
│   ├── ExtensionError  a RoPE base or window that did not take
│   ├── OutOfMemory     rows that do not fit the machine's memory
│   └── ProbeError      rows, spans, heads or layers that the attention function cannot serve
├── OutputError         a file or folder that cannot be written: no such place, no permission, a full disk
├── StudyError          a cell that failed or a store that cannot be used
└── Interrupted         the user stopped the work; what was finished is kept

A message says what was expected, what was found, where, and what to do.
"""

from typing import TypeGuard


class HaymakerError(Exception):
    """Base of all errors a user can act on; the command line prints it as one sentence."""


def is_failure(error: BaseException) -> TypeGuard[Exception]:
    """Whether something failed: an Exception, or a panic of a library in Rust (tokenizers), which is none."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


class ConfigError(HaymakerError):
    """A config, recipe, flag or name cannot be used as written."""


class PluginError(ConfigError):
    """What another package brings by an entry point cannot be loaded, is not of its kind, or takes a name twice."""


class DataError(HaymakerError):
    """A file or row is not what its format says."""


class LengthError(DataError):
    """A row does not fit its token budget or the model's context."""


class MissingKey(DataError):
    """An object, the row itself or a part of it, lacks a key."""

    def __init__(self, message: str, row: object, key: str) -> None:
        super().__init__(message)
        self.row, self.key = row, key


class LacksColumn(DataError):
    """A row lacks columns: all of any one group of `groups` would do."""

    def __init__(self, message: str, *groups: tuple[str, ...]) -> None:
        super().__init__(message)
        self.groups = groups


class ModelError(HaymakerError):
    """A model, tokenizer or adapter cannot be loaded or used as asked."""


class ExtensionError(ModelError):
    """A RoPE base, window or adapter did not take effect, or a model lacks what extension needs."""


class OutOfMemory(ModelError):
    """Rows do not fit the machine's memory, or its accelerator's."""


class ProbeError(ModelError):
    """Rows, spans, heads or layers that the attention function cannot serve."""


class OutputError(HaymakerError):
    """A file or folder cannot be written: there is no such place, no permission, or no room."""


class StudyError(HaymakerError):
    """A study's cell failed, or its store cannot be used."""


class Interrupted(HaymakerError):
    """The user stopped the work; what was finished is kept and resumes."""
