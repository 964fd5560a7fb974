"""A row of every layout that is read from files, with what it says."""

import json
from typing import Any

MILL = "Ada Reyes founded the mill in 1871."
BRIDGE = "The bridge is of stone."
ASKED = {"question": "Who founded the mill?", "answers": ["Ada Reyes", "Reyes"]}
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"{MILL} Who did?"}]
ANSWER = {"role": "assistant", "content": "Ada Reyes"}


def document(text: str, **more: Any) -> dict[str, Any]:
    return {"text": text, **more}


# row, its prompt, evidence, answers marked, target
WHOLE = f"{BRIDGE} {MILL} It burned."
HOTPOT = {
    "_id": "h1", "question": "Who founded the mill?", "answer": "Ada Reyes",
    "context": [["The bridge", [BRIDGE, " It is old."]], ["The mill", ["A mill.", f" {MILL}", " It burned."]]],
    "supporting_facts": [["The mill", 1]],
}  # fmt: skip
LAYOUTS: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "documents": ({**ASKED, "documents": [document(BRIDGE), document(MILL, gold=True)]}, [MILL], ["Ada Reyes"]),
    "titles": ({**ASKED, "documents": [document(MILL, gold=1, title="Mill")]}, [MILL], ["Ada Reyes"]),
    "one text as answer": (
        {"question": "Who?", "answer": "Ada Reyes", "documents": [document(MILL, gold=True)]}, [MILL], ["Ada Reyes"]
    ),
    "evidence in a document": (
        {**ASKED, "documents": [document(f"{BRIDGE} {MILL}", evidence=[MILL]), document(MILL)]}, [MILL], ["Ada Reyes"]
    ),
    "the second answer": (
        {"question": "Who?", "answers": ["Ada", "Ada Reyes"], "documents": [document(f"{MILL} Ada!", gold=True)]},
        [f"{MILL} Ada!"], ["Ada Reyes", "Ada"],
    ),
    "several gold": (
        {**ASKED, "documents": [document(BRIDGE, gold=True), document(MILL, gold=True)]}, [BRIDGE, MILL], ["Ada Reyes"]
    ),
    "context": ({**ASKED, "context": WHOLE}, [MILL], ["Ada Reyes"]),
    "context, Chinese": (
        {**ASKED, "context": "桥很旧。Ada Reyes 建了磨坊。后来。"}, ["Ada Reyes 建了磨坊。"], ["Ada Reyes"]
    ),
    "hotpotqa as texts": (
        {**HOTPOT, **{key: json.dumps(HOTPOT[key]) for key in ("context", "supporting_facts")}}, [MILL], ["Ada Reyes"]
    ),
    "hotpotqa as objects": (
        {**HOTPOT, "context": [{"title": title, "content": content} for title, content in HOTPOT["context"]],
         "supporting_facts": [{"title": "The mill", "sent_id": 1}]}, [MILL], ["Ada Reyes"]
    ),
    "context, evidence": ({**ASKED, "context": WHOLE, "evidence": [[24, 41]]}, ["Ada Reyes founded"], ["Ada Reyes"]),
    "context, evidence elsewhere": ({**ASKED, "context": WHOLE, "evidence": [BRIDGE]}, [BRIDGE], []),
    "messages": ({"messages": [*CHAT, ANSWER], "evidence": [MILL]}, [MILL], ["Ada Reyes"]),
    "messages, characters": ({"messages": [*CHAT, ANSWER], "evidence": [[9, 18]]}, ["Ada Reyes"], ["Ada Reyes"]),
    "messages alone": ({"messages": [*CHAT, ANSWER]}, [], []),
    "parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": MILL}]}, ANSWER], "evidence": [MILL]},
        [MILL], ["Ada Reyes"],
    ),
    "sharegpt, keys of openai": ({"conversations": [*CHAT, ANSWER], "evidence": [MILL]}, [MILL], ["Ada Reyes"]),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": MILL}, {"from": "gpt", "value": "Ada Reyes"}],
         "evidence": ["Ada Reyes"]}, ["Ada Reyes"], ["Ada Reyes"],
    ),
    "alpaca": (
        {"instruction": "Who did?", "input": MILL, "output": "Ada Reyes", "evidence": [MILL]}, [MILL], ["Ada Reyes"]
    ),
    "alpaca, history": (
        {"instruction": "Who?", "input": "", "output": "Ada Reyes", "history": [["Hi", MILL]], "system": "Be brief."},
        [], [],
    ),
    "prompt-completion": ({"prompt": MILL, "completion": "Ada Reyes", "evidence": [MILL]}, [MILL], ["Ada Reyes"]),
    "prompt-completion, chat": ({"prompt": CHAT, "completion": [ANSWER], "evidence": [MILL]}, [MILL], ["Ada Reyes"]),
    "hotpotqa": (HOTPOT, [MILL], ["Ada Reyes"]),
    "hotpotqa of the hub": (
        {**HOTPOT, "context": {"title": ["The mill"], "sentences": [[MILL, " It burned."]]},
         "supporting_facts": {"title": ["The mill", "The mill"], "sent_id": [0, 1]}},
        [f"{MILL} It burned."], ["Ada Reyes"],
    ),
    "evidence of the row": (
        {**ASKED, "documents": [document(BRIDGE), document(f"{BRIDGE} {MILL}")], "evidence": [MILL]}, [MILL],
        ["Ada Reyes"],
    ),
    "evidence, told twice": ({**ASKED, "context": WHOLE, "evidence": [MILL, [24, 59]]}, [MILL], ["Ada Reyes"]),
    "squad": (
        {**ASKED, "context": f"{MILL} By Ada Reyes.", "answers": {"text": ["Ada Reyes"], "answer_start": [0]}}, [MILL],
        ["Ada Reyes"],
    ),
    "squad, its file": (
        {"title": "Mill", "paragraphs": [{"context": WHOLE, "qas": [
            {"id": "1", "question": "Who?", "answers": [{"text": "Ada Reyes", "answer_start": 24}]}]}]},
        [MILL], ["Ada Reyes"],
    ),
    "mdqa": ({**ASKED, "ctxs": [document(BRIDGE, isgold=False), document(MILL, isgold=True)]}, [MILL], ["Ada Reyes"]),
}  # fmt: skip

NEEDLE = "One of the special magic numbers for mill is: 4711."
TEXT = f"The grass is green. {NEEDLE} The sky is blue."
TURNS = [
    {"role": "user", "content": "Write a poem."},
    {"role": "assistant", "content": "Roses."},
    {"role": "user", "content": "Write a poem."},
    {"role": "assistant", "content": "Roses."},
    {"role": "user", "content": "Prepend x7 to the 2nd poem."},
]
MRCR = {
    "prompt": json.dumps(TURNS), "answer": "x7Roses.", "random_string_to_prepend": "x7", "n_needles": 2,
    "desired_msg_index": 3,
}  # fmt: skip
NOLIMA = {
    "id": "0401", "reasoning_type": "commonsense", "needle": "Actually, {CHAR} lives next to the {1}.",
    "questions": {"onehop": "Who has been to {2}?", "twohop": "Who has been to {3}?"},
    "character_set": ["Yuki", "Stuart"],
    "tests": {"T1": {"input_args": ["Opera", "Dresden", "Saxony"]}, "T2": {"input_args": ["Dom", "Cologne", "X"]}},
}  # fmt: skip
# All fields that the benchmarks' own pages and code name, as read on 2026-11-27: LongBench's README (input, context,
# answers, length, dataset, language, all_classes, _id), OpenAI-MRCR's graders (prompt, answer, n_needles,
# random_string_to_prepend, desired_msg_index, total_messages, n_chars), HELMET's data.py (id, question, answers, s_pop,
# ctxs of title, text, has_answer), RULER's generators (niah.py, qa.py, variable_tracking.py), NoLiMa's run_tests.py and
# async_evaluate.py, OpenCompass's reader of BABILong (input, question, target).
BENCHMARKS: dict[str, tuple[dict[str, Any], tuple[str, ...], list[str]]] = {
    "ruler": ({"index": 3, "input": TEXT, "outputs": ["4711"], "answer_prefix": " Answer:"}, ("4711",), [NEEDLE]),
    "ruler, as niah.py writes it": (
        {"index": 0, "input": TEXT, "outputs": ["4711"], "length": 40, "length_w_model_temp": 58,
         "answer_prefix": " The special magic number is", "token_position_answer": 17},
        ("4711",), [NEEDLE],
    ),
    "ruler, as variable_tracking.py writes its own examples": (
        {"index": 0, "input": TEXT, "outputs": ["4711"], "length": 40}, ("4711",), [NEEDLE]
    ),
    "ruler, several": (
        {"input": f"{TEXT} Another is: 12.", "outputs": ["4711", "12"]}, ("4711", "12"), [NEEDLE, "Another is: 12."]
    ),
    "ruler, nowhere": ({"input": TEXT, "outputs": ["is", "99"]}, ("is", "99"), []),
    "longbench": ({"input": "Which number?", "context": TEXT, "answers": ["4711"]}, ("4711",), [NEEDLE]),
    "babilong": ({"input": TEXT, "question": "Which number?", "target": "4711"}, ("4711",), [NEEDLE]),
    "mrcr": (MRCR, ("x7Roses.",), ["Roses."]),
    "longbench, every field": (
        {"input": "Which number?", "context": TEXT, "answers": ["4711"], "length": 14, "dataset": "multifieldqa_en",
         "language": "en", "all_classes": None, "_id": "0f"},
        ("4711",), [NEEDLE],
    ),
    "longbench, classes": (
        {"input": "Question: What of?\nType:", "context": TEXT, "answers": ["Number"], "length": 14, "dataset": "trec",
         "language": "en", "all_classes": ["Number", "City"], "_id": "1f"},
        ("Number",), [],
    ),
    "mrcr, every field": ({**MRCR, "total_messages": 5, "n_chars": 90}, ("x7Roses.",), ["Roses."]),
    "helmet, as its code reads it": (
        {"id": "7", "question": "Which number?", "answers": ["4711"], "s_pop": 12,
         "ctxs": [{"title": "", "text": "No", "has_answer": False}, {"title": "", "text": NEEDLE, "has_answer": True}]},
        ("4711",), [NEEDLE],
    ),
    "helmet": (
        {"question": "Which number?", "answers": ["4711"],
         "ctxs": [{"text": "No.", "hasanswer": False}, {"text": NEEDLE, "hasanswer": True}]},
        ("4711",), [NEEDLE],
    ),
}  # fmt: skip
CHOICES = {
    "_id": "66f", "domain": "QA", "sub_domain": "Academic", "difficulty": "easy", "length": "short",
    "question": "Which number?", "choice_A": "4711", "choice_B": "12", "choice_C": "1", "choice_D": "none",
    "answer": "C", "context": f"{TEXT} Vitamin C.",
}  # fmt: skip
OTHER_NOLIMA = {
    "id": "0402", "system_prompt": "", "task_template": "{haystack}\n{question}", "reasoning_type": "world_knowledge",
    "needle": "The {1} of Mill lies beside the {2}.", "questions": {"onehop": "What lies there, of {1}s?"},
    "distractors": {"onehop": "No {1} is near."},
    "tests": {"T01": {"input_args": ["bridge", "sea"], "gold_answers": ["Mill", "the Mill"]},
              "T02": {"input_args": ["road", "hill"], "gold_answers": "Mill"}},
}  # fmt: skip
