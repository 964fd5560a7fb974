"""A row as a model reads it, as text: messages and answer in the frame that the chat template writes, or in none.

The whole row is rendered at once, so that what stands between prompt and answer and behind it is the template's own.
Ranges are of characters here; `tokens.py` alone turns them into tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from haymaker.errors import DataError
from haymaker.records import Example, Label, Span

SENTINEL = "\ue000{}\ue001"  # private-use characters: no template changes them
TURNS_APART = "\n\n"  # without a template, where no blank parts them
TEMPLATE_DATE = "2024-07-26"
"""The day on which a chat template that writes today's date is rendered (Llama 3's own default): rows stay the same."""

DAY_SIGNS = "aAbBcCdDeFfgGhHIjklmMnpPrRStTuUVwWxXyYzZ"  # what strftime writes of a day, as %d
NUMBER_SIGNS = "deHIjklmMSuUVwWy"  # without a leading zero, as %-d


@dataclass(frozen=True)
class Prompt:
    """A prompt with its answer as the model reads it. Ranges are of characters."""

    text: str
    contents: tuple[tuple[int, int], ...]  # what is data: one a message, then the answer
    seam: int  # where what is generated begins: the answer, or the blanks before it that are not the prompt's
    name: str  # of its example, for messages

    @property
    def answer(self) -> tuple[int, int]:
        return self.contents[-1]


class Renderer:
    """One tokenizer's way from messages to text, with its chat template or without."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat_template: bool | None = None) -> None:
        self.tokenizer = tokenizer
        self.use_template = bool(tokenizer.chat_template) if chat_template is None else chat_template
        self.frames: dict[tuple[str, ...], tuple[list[str], int]] = {}  # by roles

    def render(self, example: Example) -> Prompt:
        return self.rendered([(message.role, message.text) for message in example.messages], example.target, example.id)

    def rendered(self, messages: Sequence[tuple[str, str]], answer: str, name: str) -> Prompt:
        """The prompt of (role, content) messages, with its answer; without a template a blank line parts messages.

        Raises DataError where the template drops or changes one of them.
        """
        if not self.use_template:
            text, ranges = "", []
            for _, content in messages:
                parted = not (text and content) or text[-1].isspace() or content[0].isspace()
                text += "" if parted else TURNS_APART
                ranges.append((len(text), len(text) + len(content)))
                text += content
            seam, start = len(text), len(text) + (not text[-1:].isspace())
            ranges.append((start, start + len(answer)))
            return Prompt(f"{text}{' ' * (start - seam)}{answer}", tuple(ranges), seam, name)
        turns = [*messages, ("assistant", answer)]
        frame, shared = self.frame(tuple(role for role, _ in messages))
        text, places = "", []
        for i, (role, content) in enumerate(turns):
            if i >= len(frame) - 1:
                raise DataError(f"{name}: the chat template drops message {i} ({role}); use another template")
            text += frame[i]
            places.append((len(text), len(text) + len(content)))
            text += content
        text += frame[-1]
        if text != self.apply_template(turns, False):
            raise DataError(
                f"{name}: the chat template changes the text of a message (it strips or rewrites it), "
                "so spans would be off; encode with chat_template=False or mend the template"
            )
        return Prompt(text, tuple(places), places[-1][0] - shared, name)

    def frame(self, roles: tuple[str, ...]) -> tuple[list[str], int]:
        """What the template writes before, between and behind the contents of these roles and of an answer.

        And how many characters right before the answer are not the prompt's: blanks that the template does not write
        where an answer is to be generated. Anything else there (a block of thought that is closed) stays before it.
        """
        if roles not in self.frames:
            marks = [SENTINEL.format(i) for i in range(len(roles) + 1)]
            marked = list(zip((*roles, "assistant"), marks, strict=True))
            whole = self.apply_template(marked, False)
            pieces = cut_at(whole, marks)
            *before, asked = cut_at(self.apply_template(marked[:-1], True), marks[:-1])
            between = pieces[-2] if len(pieces) > 1 else ""
            if len(before) == len(pieces) - 2 and (before != pieces[:-2] or ends_turn_otherwise(asked, between)):
                raise DataError(
                    f"the chat template writes turns of {', '.join(roles)} otherwise where the answer follows them "
                    "than where it is asked for, so no row would be both; use another template, or chat_template=False"
                )
            both = next((i for i, (a, b) in enumerate(zip(asked, between, strict=False)) if a != b), None)
            more = between[min(len(asked), len(between)) if both is None else both :]
            self.frames[roles] = pieces, len(more) * more.isspace()
        return self.frames[roles]

    def apply_template(self, messages: Sequence[tuple[str, str]], generation: bool) -> str:
        said = [{"role": role, "content": content} for role, content in messages]
        options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": generation}
        try:
            if writes_date(self.tokenizer):
                options["chat_template"] = dated(str(self.tokenizer.get_chat_template()))
            return str(self.tokenizer.apply_chat_template(said, **options))
        except Exception as error:  # a template is a program, and fails as any program does
            roles = ", ".join(role for role, _ in messages)
            raise DataError(
                f"the chat template refuses messages of {roles} ({error}); use other roles, or chat_template=False"
            ) from error


def rendered_spans(example: Example, prompt: Prompt) -> list[tuple[Label, Span]]:
    """The example's spans moved from its text to the rendered prompt. A span lies within one message."""
    bounds = list(accumulate((len(message.text) for message in example.messages), initial=0))
    moved = []
    for label, span in example.labelled_spans:
        message = int(np.searchsorted(bounds, span.start, side="right")) - 1
        if span.stop > bounds[message + 1]:
            raise DataError(f"{example.id}: {label} runs over the end of message {message}; label each message alone")
        moved.append((label, span.shifted(prompt.contents[message][0] - bounds[message])))
    return moved


def ends_turn_otherwise(asked: str, between: str) -> bool:
    """Whether the last turn before the answer ends in more where it is asked for than where it is given, or in less."""
    short, long = sorted((asked, between), key=len)
    return long.endswith(short) and not long.startswith(short)


def cut_at(text: str, marks: Sequence[str]) -> list[str]:
    """What stands before, between and behind the marks, up to one that is not there."""
    pieces = []
    for mark in marks:
        before, found, behind = text.partition(mark)
        if not found:
            break
        pieces.append(before)
        text = behind
    return [*pieces, text]


def dated(template: str) -> str:
    """The chat template with TEMPLATE_DATE for today: a macro that takes the place of the function `strftime_now`."""
    day = datetime.fromisoformat(TEMPLATE_DATE)
    signs = [*DAY_SIGNS, *(f"-{sign}" for sign in NUMBER_SIGNS), "%"]  # %% last, as what it leaves is no sign
    written = {f"%{sign}": day.strftime(f"%{sign}") for sign in signs}
    said = "".join(f" | replace({form!r}, {text!r})" for form, text in written.items())
    line = "\n" * template.startswith("\n")  # for the one that goes with the tag before it
    return f"{{% macro strftime_now(format) %}}{{{{ format{said} }}}}{{% endmacro %}}{line}{template}"


def writes_date(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer's chat template writes the day on which it is rendered."""
    return "strftime_now" in str(tokenizer.chat_template or "")
