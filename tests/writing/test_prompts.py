"""The rules beside the prompts: which texts are not taken, and why."""

import pytest

from haymaker.writing.invented import Invented
from haymaker.writing.prompts import carrier_fault, passage, question, question_fault, reading_fault

FACTS = (Invented("author", "Vora", "Tilm Ude"), Invented("spouse", "Tilm Ude", "Ansa Kor"))
FILL = " and so on" * 30


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Vora is by Tilm Ude" + FILL, None),
        ("Vora is by tilm ude" + FILL, "does not hold its answer"),
        ("Voras are by Tilm Ude" + FILL, "does not name its subject"),
        ("Vora is by Tilm Ude\n" + FILL, "is not one paragraph"),
        ("Vora is by Tilm Ude \ufffd" + FILL, "holds a character that is no text"),
        ("Vora is by Tilm Ude \x1b[31m" + FILL, "holds a character that is no text"),
        ("Vora is by Tilm Ude.", "is shorter than half the words or longer than twice"),
        ("Vora is by Tilm Ude" + FILL * 3, "is shorter than half the words or longer than twice"),
        ("Vora is by Tilm Ude, who wed ANSA KOR" + FILL, "gives another hop away"),
    ],
)
def test_passages(text: str, fault: str | None) -> None:
    assert passage(FACTS, 0, "who wrote it", words=100).fault(text) == fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Whom did the author of Vora marry?", None),
        ("Whom did the author of Vora marry", "is not one line that ends with a question mark"),
        ("Whom did the author\nof Vora marry?", "is not one line that ends with a question mark"),
        ("Whom did the author of Vora\x00 marry?", "holds a character that is no text"),
        ("Whom did the author of it marry?", "does not name its subject"),
        ("Whom did Tilm Ude, author of Vora, marry?", "gives an answer away"),
        ("Did the author of Vora marry Ansa Kor?", "gives an answer away"),
    ],
)
def test_questions(text: str, fault: str | None) -> None:
    assert question_fault(text, FACTS) == fault


def test_readings_are_short_and_carriers_have_words_of_their_own() -> None:
    assert reading_fault("Ansa Kor" + " x" * 38) is None
    assert reading_fault("Ansa Kor" + " x" * 39) == "is not a short answer"
    point, other = "Pay fell.", "Wages went down" + FILL
    assert carrier_fault(other, point, before=[], words=100) is None
    assert carrier_fault(other, point, before=[other], words=100) == "repeats another carrier"
    assert carrier_fault(point + other, point, before=[], words=100) == "repeats the point word for word"


def test_a_prompt_names_what_its_rule_asks_for() -> None:
    """A text can only be blamed for what the model was told."""
    for hop, fact in enumerate(FACTS):
        prompt = passage(FACTS, hop, "who wrote it", words=100).prompt
        assert f'"{fact.subject}"' in prompt
        assert f'"{fact.object}"' in prompt
    prompt = question(FACTS, ["A.", "B."], "whom did he marry").prompt
    assert 'do not name "Tilm Ude" or "Ansa Kor"' in prompt
    assert "takes the author, then the spouse in turn" in prompt
