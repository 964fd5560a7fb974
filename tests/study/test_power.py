"""What a study can see, by hand."""

from pathlib import Path

from haymaker.config_files import load_config
from haymaker.study import StudyConfig
from haymaker.study.power import separable

PACKAGED = Path(__file__).parents[2] / "src" / "haymaker" / "studies" / "miniature.yaml"


def test_a_plan_says_what_can_be_told_apart() -> None:
    overrides = ["tasks.mdqa.test.rows=196", "ablation.rows=49", "patching.rows=100", "heads.rows=100"]
    config = load_config(PACKAGED, StudyConfig, overrides)
    # (1.960 + 0.842) x 0.5 = 1.401, over 14, 7 and 10.
    told = "settings 0.10 (196 rows), masking 0.20 (49 rows), patching 0.14 (100 rows)"
    assert separable(config)[1] == f"mdqa, 1 seed: a difference of {told}"
    # Three seeds add 0.05 / sqrt(3) = 0.0289 to 0.0357: 0.0459 with 12.5 degrees of freedom, (2.17 + 0.87) times.
    assert "settings 0.14 (196 rows)" in separable(load_config(PACKAGED, StudyConfig, [*overrides, "seeds=[0,1,2]"]))[1]
