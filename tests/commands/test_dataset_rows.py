"""haymaker show: a row's spans in a terminal and on a page, nested as the row has them."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command_line import WORLD, fails, passes, run
from rich.console import Console
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.commands import output
from haymaker.data.dataset import Folder
from haymaker.data.row_page import LEGEND, marks_of, render


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands") / "data"
    passes("build", *WORLD, "--out", folder)
    return folder


def test_show_takes_a_row_by_number_or_id(data: Path) -> None:
    second = hm.load_dataset(data)[1]
    assert json.loads(passes("show", data, "--row", 1, "--json"))["id"] == second.id
    assert json.loads(passes("show", data, "--id", second.id[:12], "--json"))["id"] == second.id
    fails(2, "4 ids of", "show", data, "--id", "mdqa")
    fails(2, "0 ids of", "show", data, "--id", "nothing")


def test_show_colours_spans_in_a_terminal(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = Console(force_terminal=True, color_system="standard", width=10_000)
    monkeypatch.setattr(output, "out", wide)
    with wide.capture() as capture:
        result = run("show", data)
    assert result.exit_code == 0, result.output
    example, said = hm.load_dataset(data)[0], capture.get()
    (answer,) = (example.text[span.slice] for span in example.spans["answer"])
    assert f"\x1b[1;32m{answer}\x1b[0m" in said
    assert f"\x1b[36m{example.question}\x1b[0m" in said


class Reader(HTMLParser):
    """Collects the text of the prompt, and for every piece of it which marks are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pieces: list[tuple[str, tuple[str, ...]]] = []
        self.depth = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        assert not {"src", "href"} & set(given), "nothing is loaded from elsewhere"
        if tag == "div":
            self.depth += 1
        if tag == "mark":
            self.open.append(str(given["class"]))

    def handle_endtag(self, tag: str) -> None:
        if tag == "mark":
            self.open.pop()
        if tag == "div":
            self.depth -= 1

    def handle_data(self, text: str) -> None:
        if self.depth:
            self.pieces.append((text, tuple(self.open)))


def test_the_page_holds_the_prompt_with_nested_spans(data: Path, tmp_path: Path) -> None:
    page = tmp_path / "row.html"
    assert passes("show", data, "--row", 1, "--html", page) == f"{page}\n"
    reader = Reader()
    reader.feed(page.read_text())
    example = hm.load_dataset(data)[1]
    assert "".join(text for text, _ in reader.pieces) == example.text
    (answer,) = (example.text[span.slice] for span in example.spans["answer"])
    assert (answer, ("document", "evidence", "answer")) in reader.pieces
    assert "prefers-color-scheme: dark" in page.read_text()
    fails(2, "exists", "show", data, "--html", page)
    passes("show", data, "--html", page, "--overwrite")


def test_a_page_shows_what_heads_of_a_model_read(data: Path, tmp_path: Path) -> None:
    page, words = tmp_path / "view.html", ("show", data, "--row", 1, "--model", "miniature-sparse")
    assert passes(*words, "--heads", "3-6,2-1", "--html", page) == f"{page}\n"
    lm, example = hm.load_model("miniature-sparse"), hm.load_dataset(data)[1]
    assert page.read_text() == hm.show_example(lm, example, "3-6,2-1").page()
    fails(2, "--model with --html", *words)
    fails(2, "go with --model", *words[:4], "--heads", "3-6", "--html", tmp_path / "other.html")
    fails(2, "no 9-9", *words, "--heads", "9-9", "--html", tmp_path / "other.html")


def test_what_a_row_of_ones_own_does_not_know_is_no_line_of_its_page(tmp_path: Path) -> None:
    mine = {"question": "Who?", "answers": ["Ada"], "documents": [{"text": "Ada is here.", "gold": True}]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(mine))
    passes("show", tmp_path / "mine.jsonl", "--html", tmp_path / "row.html")
    assert "None" not in (tmp_path / "row.html").read_text()


def test_the_page_escapes_what_rows_say(data: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    row = next(Folder(data).rows)
    words = '<script>alert(1)</script> & "quotes"'
    content = words + row["messages"][0]["content"][len(words) :]
    page = render({**row, "messages": [{"role": "user", "content": content}], "question": words, "answers": [words]})
    assert "<script>" not in page
    reader = Reader()
    reader.feed(page)
    assert "".join(text for text, _ in reader.pieces) == content


def test_every_label_of_a_row_is_in_the_legend(data: Path) -> None:
    example = hm.load_dataset(data)[0]
    kinds = {mark.opens.kind for mark in marks_of(example.messages[0]) if mark.opens}
    assert kinds == set(example.spans) <= set(LEGEND)
