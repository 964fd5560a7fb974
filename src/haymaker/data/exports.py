"""A dataset's rows in the forms that other trainers and benchmarks read: a function of an Example for each.

Beside the form's own keys a row keeps what `hm.read_examples` needs to have the same example again: its id, all
answers, what is asked, and evidence in characters of all turns one after the other.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from haymaker.choices import EXPORTS
from haymaker.errors import ConfigError, DataError
from haymaker.files import whole_file, write_jsonl
from haymaker.records import Example
from haymaker.tasks import golds_of, metrics_of_row
from haymaker.tasks.qa import METRICS
from haymaker.tasks.row_files import cell

Row = dict[str, Any]
Form = Callable[[Iterable[Example]], Iterator[Row]]
SHAREGPT_ROLES = {"system": "system", "user": "human", "assistant": "gpt"}
ENDINGS = (".jsonl", ".json", ".csv", ".parquet")


def exported(examples: Iterable[Example], form: str, bare: bool = False) -> Iterator[Row]:
    """Rows in a form; `bare` ones have its own keys alone. Raises ConfigError for a form that there is not.

    `examples` are read more than once.
    """
    made: Form = EXPORTS[form]
    for example, row in zip(examples, made(examples), strict=True):
        yield row if bare else row | {key: value for key, value in kept(example, form).items() if key not in row}


def kept(example: Example, form: str) -> dict[str, Any]:
    """What a form itself has no place for."""
    name = example.source.get("row_id", "") if example.source.get("dataset") == "own" else example.id
    evidence = [[span.start, span.stop] for span in example.spans.get("evidence", [])]
    asked = example.question if example.question != example.messages[-1].text else ""
    metrics, golds, answers = metrics_of_row(example), list(golds_of(example)), list(example.answers)
    told = {
        **{"id": name, "question": asked, "answers": answers, "evidence": evidence},
        "metrics": list(metrics) if form == "ruler" or metrics != METRICS else [],  # by which rows are judged anyway
        "golds": golds if golds != answers else [],
    }
    return {key: value for key, value in told.items() if value or key == "evidence"}


def write_rows(rows: Iterator[dict[str, Any]], path: Path) -> None:
    """Rows as jsonl, a json list, csv, or parquet, by the file's ending; the file appears whole or not at all."""
    check_ending(path)
    if path.suffix == ".jsonl":
        write_jsonl(path, rows)
        return
    with whole_file(path) as scratch:
        if path.suffix == ".json":
            scratch.write_text(json.dumps(list(rows), ensure_ascii=False, indent=1), encoding="utf-8")
        elif path.suffix == ".csv":
            scratch.write_text(csv_text(list(rows)), encoding="utf-8", newline="")
        else:
            pq.write_table(table_of(list(rows)), scratch, compression="zstd")


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Rows as csv with the columns of all of them; a list or an object in a cell is JSON."""
    names = dict.fromkeys(name for row in rows for name in row)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell_of(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def cell_of(value: Any) -> Any:
    """Raises DataError for a text that would be read as something else: a list in JSON, or NA."""
    if isinstance(value, str) and value and cell(value) != value:
        raise DataError(f"{value[:60]!r} is no text in a csv, where it is read as {cell(value)!r:.60}; write .jsonl")
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table with the columns of all of them; pyarrow alone takes those of the first."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def check_ending(path: Path) -> None:
    if path.suffix not in ENDINGS:
        raise ConfigError(f"--out {path}: expected a name that ends in {', '.join(ENDINGS)}")


# ---- the forms


def openai(examples: Iterable[Example]) -> Iterator[Row]:
    """messages of role and content, the answer as the assistant's last turn."""
    for example in examples:
        yield {"messages": [*turns(example), answer(example)]}


def sharegpt(examples: Iterable[Example]) -> Iterator[Row]:
    """conversations of from (system, human, gpt) and value."""
    for row in openai(examples):
        said = [{"from": SHAREGPT_ROLES[turn["role"]], "value": turn["content"]} for turn in row["messages"]]
        yield {"conversations": said}


def alpaca(examples: Iterable[Example]) -> Iterator[Row]:
    """instruction, input, output; a system text, and turns before the last as history."""
    return map(alpaca_row, examples)


def alpaca_row(example: Example) -> Row:
    """Raises DataError where turns do not alternate, which the form cannot say."""
    said = turns(example)
    system = said[0]["content"] if said[0]["role"] == "system" else ""
    rest = said[1:] if said[0]["role"] == "system" else said
    roles = [turn["role"] for turn in rest]
    if not rest or roles[0] != "user" or roles[-1] != "user" or any(a == b for a, b in pairwise(roles)):
        raise DataError(
            f"{example.id}: alpaca holds turns of user and assistant in turn after one of the system, found "
            f"{', '.join(turn['role'] for turn in said)}; export as openai"
        )
    pairs = zip(rest[:-1:2], rest[1::2], strict=True)
    history = [[asked["content"], answered["content"]] for asked, answered in pairs]
    row: Row = {"instruction": rest[-1]["content"], "input": "", "output": example.target}
    return row | ({"system": system} if system else {}) | ({"history": history} if history else {})


def prompt_completion(examples: Iterable[Example]) -> Iterator[Row]:
    """prompt and completion: texts that join as the model reads them; messages in all rows where one has several."""
    chat = any([message.role for message in example.messages] != ["user"] for example in examples)
    for example in examples:
        if chat:
            yield {"prompt": turns(example), "completion": [answer(example)]}
        else:
            space = "" if example.text[-1:].isspace() else " "
            yield {"prompt": example.text, "completion": f"{space}{example.target}"}


LENGTHS = ("length", "length_w_model_temp")  # of a row in RULER's form


def ruler(examples: Iterable[Example]) -> Iterator[Row]:
    """input and outputs, as RULER's own files have them; length in tokens, left out where they were not counted, as no
    chat template is added: with the model's template it is the same.

    Raises DataError for several turns, which the form cannot say.
    """
    for number, example in enumerate(examples):
        roles = [message.role for message in example.messages]
        if roles != ["user"]:
            raise DataError(
                f"{example.id}: ruler holds one turn of the user, found {', '.join(roles)}; export as openai"
            )
        counted = [example.source.get(key) for key in ("n_prompt_tokens", "n_target_tokens")]
        lengths = {} if None in counted else dict.fromkeys(LENGTHS, sum(counted))  # type: ignore[arg-type]
        row = {"index": number, "input": example.text, "outputs": list(example.answers)}
        yield row | lengths | {"answer_prefix": ""}


def turns(example: Example) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.text} for message in example.messages]


def answer(example: Example) -> dict[str, str]:
    return {"role": "assistant", "content": example.target}
