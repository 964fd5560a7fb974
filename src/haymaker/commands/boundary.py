"""Where every command ends: what it raised becomes one sentence and an exit code.

What Haymaker raises on purpose says itself what to do. Of everything else the traceback goes into a file, which the
sentence names, so that it can be sent to those who can mend it.
"""

import errno
import os
import re
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from haymaker.commands.output import one_object, show_error
from haymaker.console import ended_as_interrupted, note, speaks
from haymaker.errors import ConfigError, HaymakerError, Interrupted, is_failure
from haymaker.files import FULL
from haymaker.registry import packages_of

FAILURE, USAGE, FAILED_ROWS, INTERRUPTED = 1, 2, 3, 130
UsageError: Any = typer.BadParameter.__mro__[2]  # click's ClickException, which typer keeps in another place every year
OF_TYPER: Any = (typer.Exit, typer.Abort, UsageError, BrokenPipeError)
PACKAGE = Path(__file__).parents[1]
JSON, EMPTY = "--json", "empty words"
MAY_BE_EMPTY = "--stop"  # whose empty text means something
STOPPED = (  # wherever it was, while a model is loaded say, behind rows that an earlier call has kept
    "interrupted; nothing half-written is left behind, what was finished is kept, and the same command goes on from "
    "there (--overwrite starts anew)"
)
MOST_CHARACTERS = 300  # of an unforeseen error's text; the file has the rest


class Commands(TyperGroup):
    """The group of all commands; nothing that one of them raises leaves it as a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Options of all commands may stand behind the command's name too, where people write them."""
        ctx.meta[JSON] = JSON in args[: args.index("--") if "--" in args else None]
        ctx.meta[EMPTY] = empty_words(args)
        return super().parse_args(ctx, hoisted(args))

    def invoke(self, ctx: Any) -> Any:
        write_what_cannot_be_encoded()
        with one_object(ctx.meta[JSON]), ended_as_interrupted():
            return self.told(ctx)

    def told(self, ctx: Any) -> Any:
        """What the command returns; what it raised is said."""
        try:
            if ctx.meta[EMPTY]:  # a path would be the current folder, and most other options as if they were not given
                raise ConfigError(f"{', '.join(ctx.meta[EMPTY])}: an empty text; is a variable of the shell not set?")
            return super().invoke(ctx)
        except UsageError as error:
            tell_place(error)
            show_error(one_line(error.format_message()), error.exit_code)
            raise
        except OF_TYPER:
            raise
        except KeyboardInterrupt:
            exec("")  # Python forgets one that fell into code that an import executes: it would end by the signal
            say(STOPPED, INTERRUPTED)
            raise typer.Exit(INTERRUPTED) from None
        except BaseException as error:
            if not is_failure(error):
                raise
            if speaks() or not isinstance(error, Interrupted):  # which all processes of a launcher are together
                say(sentence(error), code_of(error))
            raise typer.Exit(code_of(error)) from None


def tell_place(error: Any) -> None:
    """Let the error say of an option that the command takes it without a name."""
    told, command = getattr(error, "option_name", ""), getattr(error.ctx, "command", None)
    for one in command.params if told and command else ():
        shown = (one.metavar or one.name).strip("[]").upper()
        if one.param_type_name == "argument" and told == f"--{shown.lower()}":
            error.message = f"No such option: {told}; here it has no name: {error.ctx.command_path} {shown}"
            error.possibilities = None


def hoisted(args: list[str]) -> list[str]:
    """The words with --quiet and --log-level LEVEL in front; what stands behind -- stays."""
    end = args.index("--") if "--" in args else len(args)
    front, rest, words = [], [], iter(args[:end])
    for word in words:
        if word in ("--quiet", "-q") or word.startswith("--log-level="):
            front.append(word)
        elif word == "--log-level":
            front += [word, *([next(words, "")])]
        else:
            rest.append(word)
    return [*front, *rest, *args[end:]]


def empty_words(args: list[str]) -> list[str]:
    """Which words are empty, by the option in front of each (--out= too)."""
    before = ["the first word", *args]
    found = [option for option, word in zip(before, args, strict=False) if not word]
    found += [word[:-1] for word in args if re.fullmatch("--[a-z-]+=", word)]
    return [option for option in found if option != MAY_BE_EMPTY]


def write_what_cannot_be_encoded() -> None:
    """Have characters that a terminal or pipe cannot take, lone surrogates among them, written as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def say(message: str, code: int) -> None:
    """One sentence on stderr; with --json the object says it too."""
    note(f"haymaker: {message}", style="red", always=True)
    show_error(message, code)


def code_of(error: Exception) -> int:
    if isinstance(error, Interrupted):
        return INTERRUPTED
    return USAGE if isinstance(error, ConfigError) else FAILURE


def sentence(error: Exception) -> str:
    """What went wrong, in one line; of what was not foreseen also where, and the file that holds the traceback."""
    if isinstance(error, HaymakerError):
        return one_line(str(error))
    told = of_system(error) if isinstance(error, OSError) else unforeseen(error)
    return f"{told}; the traceback is in {keep_traceback(error)}"


def one_line(text: str) -> str:
    return " ".join(text.split())


def of_system(error: OSError) -> str:
    """A file that cannot be read or written, and why."""
    reason = one_line(error.strerror or str(error) or type(error).__name__)
    if error.errno in FULL:
        reason += "; make room and give the command again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason += "; give another path, or the right to use this one"
    return f"{error.filename or 'a file'}: cannot be read or written ({reason})"


def unforeseen(error: Exception) -> str:
    """Type, text and line of code."""
    if isinstance(error, MemoryError):
        return "out of memory; give fewer or shorter rows, or a smaller model"
    text = one_line(str(error))[:MOST_CHARACTERS]
    where = in_plug_in(error) or f"(at {place(error)}), which Haymaker did not foresee"
    return f"{type(error).__name__}{': ' if text else ''}{text} {where}"


def in_plug_in(error: Exception) -> str:
    """The innermost line of a plug-in that the error passed, and who brings it; empty where it passed none."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if packages := packages_of(frame.f_globals.get("__name__", "")):
            return f"(at {Path(frame.f_code.co_filename).name}:{line}), in what {' or '.join(packages)} brings"
    return ""


def place(error: Exception) -> str:
    """The innermost line of Haymaker's own code that the error passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)] or list(frames)
    if not own:
        return "an unknown line"
    path = Path(own[-1].filename)
    return f"{path.relative_to(PACKAGE.parent) if path.is_relative_to(PACKAGE) else path.name}:{own[-1].lineno}"


def keep_traceback(error: Exception) -> str:
    """The path of a new file with the traceback; why there is none, where none can be written."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="haymaker-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(traceback.format_exception(error))
    except OSError as refusal:
        return f"no file, as none can be written ({refusal.strerror})"
    return path
