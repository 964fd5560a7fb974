"""Where an answer starts and stops in what a model wrote: behind thoughts and opening lines, at a stop after text."""

import re
from collections.abc import Container
from dataclasses import dataclass

STOP = "\n"  # what ends an answer unless told otherwise
THOUGHTS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    ("<|channel|>commentary<|message|>", "<|channel|>final<|message|>"),
    ("Here is my thought process:", "Here is my response:"),  # Granite 3.2
    ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),  # Apriel
)
FRAMES = (  # around the answer itself
    ("<answer>", "</answer>"),
    ("<response>", "</response>"),
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ("<|begin_of_solution|>", "<|end_of_solution|>"),
    ("[BEGIN FINAL RESPONSE]", "[END FINAL RESPONSE]"),
)
_OPENINGS = tuple(opening for opening, _ in FRAMES)
TAGS = frozenset(tag for pair in THOUGHTS for tag in pair)
_TOKEN = re.compile(r"<[^<>]+>|\[[^\[\]]+\]|◁[^◁▷]+▷")  # of a tag: what a tokenizer may have as one special token
_MARKUP = " \t\r\n*_`>\"'“”"
_HEADING = re.compile(r"#{1,6}\s")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_ALONE = re.compile(r"(?:the |my )?(?:final |short )?answer\W*")
_OPENER = re.compile(
    r"(?:sure|certainly|of course|absolutely|definitely|okay|ok|alright|all right|gladly|thanks|thank you|hello|hi|hey|"
    r"understood|got it|no problem|my pleasure|(?:great|good|excellent|interesting) question|happy to|glad to|let me|"
    r"i(?:'d| would|'m| am|'ll| will|'ve| have)|here(?:'s| is| are| you))\b"
)
_POLITE = frozenset(
    """a about above absolutely all alright am an and answer answering are as asked asking assist based be below can
    carefully certainly check context course definitely delighted document documents excellent final find following for
    found from gladly go good got great glad happy have hello help here here's hey hi i i'd i'll i'm i've in information
    interesting is it know let let's look me much my no of ok okay on passage passages per please pleasure problem
    provided question read request requested right see so sure text thank thanks that the there thing think this through
    to understood we what will with would you your""".split()
)


@dataclass(frozen=True)
class AnswerText:
    """The answer in a text, what stood before it, and whether the stop has ended it."""

    before: str
    text: str
    stopped: bool


def read_answer(written: str, stop: str | None = STOP, in_thought: bool = False) -> AnswerText:
    r"""The answer in what a model wrote.

    Blocks of thought (`<think>...</think>`, gpt-oss's channels and the like) are no part of it; of one that is not
    closed nothing follows.
    The stop counts after text alone: not at the start, not inside a thought, and not behind an opening line that only
    says that an answer follows ("Sure!", "Here is the answer:"). Opening lines are no part of the answer unless nothing
    follows them, nor is the frame of an answer (`<answer>...</answer>`), whose end ends it.

    in_thought: the prompt ends inside a block of thought, which its template has opened.

    >>> read_answer("<think>Ada?</think>\n\nSure!\nAda Lovelace\nShe")
    AnswerText(before='<think>Ada?</think>\n\nSure!', text='Ada Lovelace', stopped=True)
    """
    start, open_thought = after_thoughts(written, in_thought)
    if open_thought:
        return AnswerText(written.strip(), "", False)
    end, stopped = len(written), False
    spoken = start  # where the last piece that says something starts
    while stop and (at := written.find(stop, start)) >= 0:
        piece = written[start:at]
        if piece.strip():
            spoken, end = start, at
            if not is_opening(piece):
                stopped = True
                break
        start = at + len(stop)
    if not stopped and written[start:].strip():
        spoken, end = start, len(written)
    spoken, end, closed = inside_frame(written, spoken, end)
    return AnswerText(written[:spoken].strip(), written[spoken:end].strip(), stopped or closed)


def inside_frame(written: str, start: int, end: int) -> tuple[int, int, bool]:
    """Start and end of an answer within the frame that a model put around it, and whether the frame is closed."""
    text = end - len(written[start:end].lstrip())
    for opening, closing in FRAMES:
        if written.startswith(opening, text):
            start = text + len(opening)
        elif not written[:start].rstrip().endswith(opening):
            continue
        at = written.find(closing, start, end)
        return (start, end, False) if at < 0 else (start, at, True)
    return start, end, False


def after_thoughts(written: str, in_thought: bool) -> tuple[int, bool]:
    """Where the text behind all blocks of thought starts, and whether a block is still open."""
    start = 0
    for opening, closing in THOUGHTS:
        first, last = written.find(opening), written.rfind(closing)
        if first < 0 and last < 0:
            continue
        if last < 0 or written.rfind(opening) > last:
            return len(written), True
        start = max(start, last + len(closing))
    return start, in_thought and not start


def marks_of_thought(names: Container[str]) -> set[str]:
    """Which of a tokenizer's special tokens make the tags of thoughts; of a tag only all or none."""
    parts = (_TOKEN.findall(tag) for tag in TAGS)
    return {name for tag in parts if all(name in names for name in tag) for name in tag}


def opens_thought(prompt: str) -> bool:
    """Whether a prompt ends by opening a block of thought, for the model to go on with."""
    return prompt.rstrip().endswith(tuple(opening for opening, _ in THOUGHTS))


def is_opening(line: str) -> bool:
    """Whether a line is no answer but leads to one: markup, a heading, what ends with a colon, words of politeness."""
    if line.lstrip().startswith("```") or _HEADING.match(line.lstrip()):
        return True
    said = line.strip(_MARKUP).replace("’", "'").lower()
    if not said or said.endswith((":", "：")) or _ALONE.fullmatch(said) or line.strip() in _OPENINGS:
        return True
    opener = _OPENER.match(said)
    if opener is None or not (said[-1] in ".!,;…-–—" or said[opener.end() : opener.end() + 1] in (",", "!", ".")):
        return False
    return all(word in _POLITE for word in _WORD.findall(said))
