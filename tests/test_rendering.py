"""A row in a template: what changes or drops a text is refused, and a label lies within one message."""

from datetime import datetime
from typing import Any

import pytest
from tiny_tokenizers import STRIPPING, TEMPLATE, tiny_tokenizer

from haymaker.errors import DataError
from haymaker.records import Example, Label, Message, Segment
from haymaker.rendering import TEMPLATE_DATE, Renderer, rendered_spans


def example(tail: str = "\nAnswer:") -> Example:
    """A needle between two texts."""
    segments = (Segment("A text. "), Segment("The sky is blue.", (Label("evidence"),)), Segment(tail))
    return Example("row", "mdqa", (Message("user", segments),), "?", ("blue",))


def renderer(template: str | None) -> Renderer:
    return Renderer(tiny_tokenizer("bytes", template))


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])
def test_spans_and_contents_are_the_texts_they_were(template: str | None) -> None:
    row = example()
    prompt = renderer(template).render(row)
    ((_, span),) = rendered_spans(row, prompt)
    assert prompt.text[span.slice] == "The sky is blue."
    assert [prompt.text[start:stop] for start, stop in prompt.contents] == [row.text, "blue"]
    assert prompt.text[: prompt.seam].endswith("Answer:" if template is None else "<|assistant|>\n")


@pytest.mark.parametrize(
    ("turns", "text"),
    [
        (("Be brief.", "Who?"), "Be brief.\n\nWho? blue"),
        (("Be brief.\n", "Who?", "Ada.", " Whose?"), "Be brief.\nWho?\n\nAda. Whose? blue"),
        (("", "Who?", ""), "Who? blue"),
    ],
)
def test_without_a_template_a_blank_parts_messages(turns: tuple[str, ...], text: str) -> None:
    messages = tuple(Message("user", (Segment(said, (Label("evidence", i),)),)) for i, said in enumerate(turns))
    row = Example("row", "mdqa", messages, "?", ("blue",))
    prompt = renderer(None).render(row)
    assert prompt.text == text
    assert [prompt.text[start:stop] for start, stop in prompt.contents] == [*turns, "blue"]
    assert [prompt.text[span.slice] for _, span in rendered_spans(row, prompt)] == [said for said in turns if said]


def test_a_template_that_strips_text_is_refused() -> None:
    assert renderer(STRIPPING).render(example()).text  # nothing to strip here
    with pytest.raises(DataError, match="changes the text of a message"):
        renderer(STRIPPING).render(example(tail="\nAnswer: "))


def test_a_template_that_drops_a_message_is_refused() -> None:
    silent = TEMPLATE.replace(
        "{{ message.content }}", "{% if message.role != 'user' %}{{ message.content }}{% endif %}"
    )
    with pytest.raises(DataError, match="drops message 0"):
        renderer(silent).render(example())


def test_a_label_over_two_messages_is_refused() -> None:
    label = (Label("evidence"),)
    messages = (Message("system", (Segment("a b", label),)), Message("user", (Segment("c d", label),)))
    row = Example("id", "mdqa", messages, "?", ("a",))
    with pytest.raises(DataError, match="label each message alone"):
        rendered_spans(row, renderer(TEMPLATE).render(row))


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].content + 1 }}",
        "{{ 1 / 0 }}",
        "{{ raise_exception() }}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% for message in messages %}{{ message.content ",
        {"rag": TEMPLATE, "tool_use": TEMPLATE},
    ],
    ids=["type", "division", "no reason", "recursion", "syntax", "no default"],
)
def test_a_template_that_fails_however_is_one_error(template: Any) -> None:
    with pytest.raises(DataError, match="the chat template refuses messages of user, assistant"):
        renderer(template).render(example())


@pytest.mark.parametrize("form", ["%F", "%D %T", "%-d/%-m/%y", "%e. %B %G, week %V", "%Y-%m-%dT%H:%M:%S%z", "%j %U %%"])
def test_a_date_of_any_form_is_that_of_the_day_on_which_templates_are_rendered(form: str) -> None:
    said = renderer(f"{{{{ strftime_now('{form}') }}}}\n{TEMPLATE}").render(example()).text
    assert said.splitlines()[0] == datetime.fromisoformat(TEMPLATE_DATE).strftime(form)
