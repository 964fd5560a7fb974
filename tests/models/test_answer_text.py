"""Where an answer starts and stops in a text. Worked by hand: what each row of the table says in its comment."""

import pytest

from haymaker.models.answer_text import THOUGHTS, is_opening, marks_of_thought, opens_thought, read_answer

TABLE = [  # written, answer, whether the stop has ended it
    ("Paris", "Paris", False),
    ("Paris\nQuestion: Who?", "Paris", True),
    ("\nParis\nmore", "Paris", True),  # a stop before text does not count
    ("\n\n \n\tParis", "Paris", False),
    ("", "", False),
    ("\n\n", "", False),
    ("Sure!\nParis\nmore", "Paris", True),  # nor behind a line that says nothing
    ("Sure, here is the answer:\n\n**Paris**\n", "**Paris**", True),
    ("Certainly! I'd be happy to help you with that.\n\nParis\n", "Paris", True),
    ("Great question!\nOf course.\nParis\n", "Paris", True),
    ("Based on the documents, this is what they say:\nParis\n", "Paris", True),
    ("## Answer\nParis\n", "Paris", True),
    ("Answer\nParis\n", "Paris", True),
    ("**Answer:**\nParis\n", "Paris", True),
    ("```json\n4f-2a\n```", "4f-2a", True),
    ("Sure!", "Sure!", False),  # nothing follows, so it is all there is
    ("Sure!\n\n", "Sure!", False),
    ("Sure thing\nParis", "Sure thing", True),  # no sign after it: it may be a name
    ("The Help\nParis", "The Help", True),
    ("OK Computer\nParis", "OK Computer", True),
    ("Hello, Dolly!\nParis", "Hello, Dolly!", True),
    ("Here Comes the Sun.\nParis", "Here Comes the Sun.", True),
    ("Yes\nParis", "Yes", True),
    ("The answer is Paris.\nmore", "The answer is Paris.", True),
    ("[1][3]\n[4]", "[1][3]", True),
    ("<think>It is\nLyon? No.</think>\n\nParis\n", "Paris", True),  # a thought is no answer, whatever lines it has
    ("<think>It is\nLyon", "", False),  # not closed: no answer yet
    ("It is\nLyon?</think>\nParis", "Paris", False),  # a template had opened it
    ("<think></think>Sure!\nParis\n", "Paris", True),
    ("<think>a</think><think>b\n</think>Paris", "Paris", False),
    ("<|channel|>analysis<|message|>Lyon?\n<|end|><|start|>assistant<|channel|>final<|message|>Paris\n", "Paris", True),
    ("<|channel|>analysis<|message|>Lyon?\nNo.assistant<|channel|>final<|message|>Paris", "Paris", False),
    ("<|channel|>analysis<|message|>a<|channel|>commentary<|message|>b\n", "", False),  # no final channel yet
    ("<|channel|>final<|message|>Paris", "Paris", False),
    ("<|channel>thought\nLyon?\n<channel|>Paris\n", "Paris", True),
    ("<think>Lyon?</think>\n<answer>Paris</answer>", "Paris", True),  # a frame is no part of the answer either
    ("<answer>\nParis\n</answer>", "Paris", True),
    ("Sure!\n<response>Paris</response>\nmore", "Paris", True),
    ("<answer>Paris", "Paris", False),
    ("<|begin_of_thought|>\nLyon?\n<|end_of_thought|>\n<|begin_of_solution|>\nParis\n", "Paris", True),
    ("<|START_THINKING|>Lyon?<|END_THINKING|><|START_RESPONSE|>Paris<|END_RESPONSE|>", "Paris", True),
    ("Here is my thought process:\nLyon?\nHere is my response:\nParis\n", "Paris", True),
    ("Here are my reasoning steps:\nLyon?\n[BEGIN FINAL RESPONSE]\nParis\n[END FINAL RESPONSE]", "Paris", True),
    ("Paris <answer>", "Paris <answer>", False),
]


@pytest.mark.parametrize(("written", "text", "stopped"), TABLE)
def test_the_answer_by_hand(written: str, text: str, stopped: bool) -> None:
    found = read_answer(written)
    assert (found.text, found.stopped) == (text, stopped)
    assert found.text in written
    assert written.lstrip().startswith(found.before)


@pytest.mark.parametrize(("opening", "closing"), THOUGHTS)
def test_every_kind_of_thought_is_taken_off(opening: str, closing: str) -> None:
    thought = f"{opening}One line.\nAnother: Lyon.\n{closing}"
    found = read_answer(f"{thought}\nParis\nmore")
    assert (found.before, found.text, found.stopped) == (thought, "Paris", True)
    assert opens_thought(f"Question\n{opening}\n")
    assert not opens_thought(f"Question\n{thought}")
    begun = read_answer(f"One line.\nAnother{closing}\nParis", in_thought=True)
    assert begun.text == "Paris"
    assert read_answer("One line.\nAnother", in_thought=True).text == ""


def test_special_tokens_of_a_tag_are_all_of_it_or_none() -> None:
    assert marks_of_thought({"<think>", "<|message|>", "</s>"}) == {"<think>"}
    assert marks_of_thought({"<|channel|>", "<|message|>", "<|end|>"}) == {"<|channel|>", "<|message|>"}


def test_without_a_stop_all_text_behind_thoughts_is_the_answer() -> None:
    assert read_answer("\nSure!\nParis\n", None).text == "Sure!\nParis"
    assert read_answer("<think>no</think> Paris\nLyon", None).text == "Paris\nLyon"
    assert read_answer("Paris. Lyon", ". ").text == "Paris"
    assert read_answer("<answer>\nParis\nLyon</answer>\nDone", None).text == "Paris\nLyon"
    assert not read_answer("Paris", "").stopped


def test_what_is_written_next_never_takes_a_stopped_answer_back() -> None:
    for written, _, _ in TABLE:
        stopped = [read_answer(written[:end]) for end in range(len(written) + 1)]
        ends = [found.stopped for found in stopped]
        if not written.startswith("It is"):  # without its opening tag a thought cannot be told from an answer
            assert ends == sorted(ends)


@pytest.mark.parametrize("line", ["", "  ", "**", "Sure,", "I'm happy to help!", "Let me think about this.", "Answer"])
def test_lines_that_say_nothing(line: str) -> None:
    assert is_opening(line)
