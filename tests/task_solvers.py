"""Solvers that read a prompt's text alone: what a template or symbolic row's answer is, or None where it says none."""

import json
import re

from haymaker.evaluation.exam import judge
from haymaker.models.generation import Generation
from haymaker.records import Example

TEMPLATE = re.compile(r"The ((?:(?!The )[^.\n])+?) is ([^.\n]+)\.(?=\s|$)")
PAIR = re.compile(r"(\d+): (\d+)")
LIST = re.compile(r"\[(\d+)\]\s\{([\d, ]+)\}")
DOCUMENT = re.compile(r"^(?:Document )?\[(\d+)\]\s", re.MULTILINE)


def solve_templates(context: str, question: str) -> str | None:
    """Follow "The r of x is y." sentences: each "the r of x" of the question becomes its y."""
    facts = {f"the {said}": value for said, value in TEMPLATE.findall(context)}
    asked = question.removeprefix("What is ").removesuffix("?")
    while asked.startswith("the "):
        known = [said for said in facts if asked.endswith(said)]
        if not known:
            return None
        said = max(known, key=len)
        asked = asked.removesuffix(said) + facts[said]
    return asked


def solve_dictionaries(context: str, question: str) -> str | None:
    """Look a number up, as often as the question says "the value of"."""
    value_of, found = dict(PAIR.findall(context)), question.rstrip("?").split()[-1]
    for _ in range(question.count("the value of")):
        if found not in value_of:
            return None
        found = value_of[found]
    return found


def solve_lists(context: str, number: str) -> str | None:
    """The numbers of the lists that hold a number."""
    return "".join(f"[{n}]" for n, held in LIST.findall(context) if number in held.split(", ")) or None


def solve_statements(context: str, statement: str) -> str | None:
    """The numbers of the documents that hold a sentence."""
    parts = DOCUMENT.split(context)[1:]
    return "".join(f"[{n}]" for n, text in zip(parts[::2], parts[1::2], strict=True) if statement in text) or None


def solve_object(context: str, key: str) -> str | None:
    try:
        return json.loads(context[context.index("{") :]).get(key)
    except ValueError:
        return None


def solver_of(task: str, concept: str):
    """The solver of a task in the template or the symbolic concept."""
    if task == "summhay":
        return solve_lists if concept == "symbolic" else solve_statements
    if task == "kv":
        return solve_object
    return solve_dictionaries if concept == "symbolic" else solve_templates


def context_of(example: Example, without: int | None = None) -> str:
    """The documents of a prompt, less the evidence span of that number."""
    cut = None if without is None else example.spans["evidence"][without]
    text = example.text if cut is None else example.text[: cut.start] + example.text[cut.stop :]
    question = example.spans["question"][0].start - (0 if cut is None else len(cut))
    tail = text[:question]
    return tail[: tail.rindex("}") + 1] if example.task == "kv" else tail


def judged(answer: str, example: Example) -> dict[str, float]:
    """The answer by every metric of the example's task."""
    return judge(example, 0, Generation(example.id, (), answer, "stop")).scores
