"""Values that no config takes, wherever they stand in one."""

import re
from collections.abc import Iterator
from math import inf, nan
from typing import Any

import pytest

import haymaker as hm
from haymaker.config import Frozen, Recipe
from haymaker.config_faults import ELSEWHERE, MOST_SAID, config_in
from haymaker.errors import ConfigError
from haymaker.study.config import AblationConfig, EvaluationConfig, StudyConfig
from haymaker.study.stages import AblateParams
from haymaker.writing.config import WriterConfig

RECIPE = {"task": "mdqa", "length": 512, "rows": 1}


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (hm.Extend, {"length": 2**63}, "length: expected an integer of at most 64 bits"),
        (hm.Extend, {"length": 512, "theta": inf}, "theta: .*finite number, found inf"),
        (hm.TrainConfig, {"rate": inf}, "rate: .*finite number"),
        (hm.TrainConfig, {"alpha": 1e308}, "alpha: expected a value less than or equal to"),
        (hm.TrainConfig, {"batch": 10**9}, "batch: expected a value less than or equal to"),
        (hm.TrainConfig, {"weight_decay": nan}, "weight_decay: .*finite number"),
        (hm.TrainConfig, {"seed": -(2**63) - 1}, "seed: expected an integer of at most 64 bits"),
        (hm.TrainConfig, {"layers": [0, 10**30]}, "layers: expected an integer of at most 64 bits"),
        (hm.TrainConfig, {"track": {"rows": 10**30}}, "track.*: expected an integer of at most 64 bits"),
        (Recipe, RECIPE | {"depth": nan}, "depth: .*finite number"),
        (Recipe, RECIPE | {"source": "\udcff"}, "source: holds half of a letter"),
        (Recipe, RECIPE | {"relations": ["a", "\ud800"]}, "relations: holds half of a letter"),
        (Recipe, RECIPE | {"columns": {"question": "\ud800"}}, "columns: holds half of a letter"),
        (WriterConfig, {"model": "\ud800"}, "model: holds half of a letter"),
        (AblateParams, {"scope": "\udcff"}, "scope: holds half of a letter"),
        (AblateParams, {"draws": 10**9}, "draws: .*less than or equal to 10000"),
    ],
)  # fmt: skip
def test_what_no_tensor_and_no_digest_takes(kind: type[Frozen], values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**values)


def test_a_long_value_is_said_with_its_beginning() -> None:
    with pytest.raises(ConfigError) as refused:
        hm.Extend(length=512, method="x" * 10_000)
    assert len(str(refused.value)) < 2 * MOST_SAID + 200
    assert "x" * 100 in str(refused.value)


def configs(kind: type[Frozen]) -> Iterator[type[Frozen]]:
    for one in kind.__subclasses__():
        yield one
        yield from configs(one)


@pytest.mark.parametrize("kind", [*configs(Frozen)], ids=lambda kind: kind.__name__)
def test_true_is_no_number_and_no_text(kind: type[Frozen]) -> None:
    """pydantic takes true for 1: where a config's field has no flag, the field's own name is in the refusal."""
    assert StudyConfig in configs(Frozen)
    for name, field in kind.model_fields.items():
        if "bool" in str(field.annotation) or "haymaker" in str(field.annotation) or "Any" in str(field.annotation):
            continue
        for value in (True, False, [1, True], {"train": True}):
            with pytest.raises(ConfigError) as refused:
                kind(**{name: value})
            assert f"{name}: expected no true or false here, found {value}" in str(refused.value)


CONFIGS = {hm.Recipe: {"task": "mdqa", "length": 128, "rows": 1}, hm.TrainConfig: {}, hm.Extend: {"length": 256}}


@pytest.mark.parametrize("key", ["(", "a(b)", "function-x", "constrained", "", "int"])
def test_a_key_that_looks_like_anything_is_named(key: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key.*{re.escape(key)}"):
        hm.Extend(length=256, **{key: None})


@pytest.mark.parametrize("kind", CONFIGS)
def test_an_unknown_key_is_told_which_is_meant(kind: Any) -> None:
    known = {key for key in kind.model_fields if len(key) > 4}
    for key in known:
        for typo in (f"{key}{key[-1]}", key[:2] + key[3:], key.upper().replace("_", "-")):
            with pytest.raises(ConfigError, match=rf"unknown key {typo} \((\w+ or )?{key}( or \w+)?\?\)"):
                kind(**CONFIGS[kind], **{typo: 1})
    with pytest.raises(ConfigError) as found:
        kind(**CONFIGS[kind], qqqqqq=1, xxxxxx=2)
    assert "unknown keys qqqqqq, xxxxxx (known here: " in str(found.value)
    assert str(found.value).count("known here") == 1


def test_keys_as_others_call_them_lead_to_ours() -> None:
    kinds = {key: kind for kind in CONFIGS for key in kind.model_fields}
    assert ELSEWHERE.keys() <= kinds.keys()
    for key, names in ELSEWHERE.items():
        kind = kinds[key]
        assert not set(names) & kind.model_fields.keys(), key
        for name in names:
            with pytest.raises(ConfigError, match=rf"unknown key {name} \({key}\?\)"):
                kind(**CONFIGS[kind], **{name: 1})


@pytest.mark.parametrize(("kind", "key"), [(hm.Recipe, "hops"), (hm.Recipe, "nested"), (hm.Recipe, "relations")])
def test_a_value_alone_where_a_list_is_expected_shows_its_form(kind: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: expected a list, as in \[3\]$"):
        kind(**CONFIGS[kind], **{key: 3})


@pytest.mark.parametrize("kind", [*configs(Frozen)], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("value", ["ten", 1.5, [1.5], {"no_such": {}}, None], ids=str)
def test_what_is_wrong_is_said_in_words_of_the_file(kind: type[Frozen], value: Any) -> None:
    """No type of Python's or pydantic's is named, and a config inside another says where in it the fault stands."""
    for name, field in kind.model_fields.items():
        with pytest.raises(ConfigError) as refused:
            kind(**{name: value, "no_such": 1})
        said = str(refused.value)
        assert not re.search(
            r"Input should|valid |tuple|dictionary|instance of|string", re.sub("found [^;]*", "", said)
        )
        if config_in(field) is not None and value == {"no_such": {}} and "dict" not in str(field.annotation):
            assert re.search(rf"unknown key {name}(\.\w+)?\.no_such \(known here: ", said)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"rate": 1}, "unknown key rate (train.rate?) (known here: ablation, context, "),
        (
            {"tasks": {"mdqa": {"source": "a"}}},
            "tasks.mdqa.source (tasks.mdqa.train.source or tasks.mdqa.test.source?) (",
        ),
        ({"train": {"metric": "copy"}}, "unknown key train.metric (train.track.metric?) (known here: alpha, batch, "),
        ({"rats": 1}, "seeds, settings, similarity, tasks, test_seed, test_split, title, train)"),
        ({"ablation": {"k": "ten"}}, "ablation.k: expected a list, as in ['ten']"),
        ({"patching": {"k": [10]}}, "patching.k: expected an integer, found [10]"),
    ],
)
def test_a_key_at_another_place_is_told_where_it_belongs(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        StudyConfig(**values)


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "a\nb", "a\0b", "..", "-x", "x ", "~", "a" * 101])
def test_a_study_s_name_is_one_of_a_file(name: str) -> None:
    with pytest.raises(ConfigError, match="name: "):
        StudyConfig(**{"name": name})


def test_one_number_is_a_list_of_it() -> None:
    assert AblationConfig(k=3).k == AblationConfig(k=[3]).k == (3,)
    assert EvaluationConfig(untrained_lengths=64).untrained_lengths == (64,)
