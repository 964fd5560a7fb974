"""What a study could see, before it runs: the smallest differences that its rows and seeds tell apart. Pure."""

from haymaker.stats import detectable
from haymaker.study.config import StudyConfig

SPREAD = 0.5  # of a paired difference of F1 over questions: 0.43 to 0.53 on the miniature, 150 questions
SEED_SPREAD = 0.05  # of the difference over training runs; assumed


def separable(config: StudyConfig) -> list[str]:
    """A sentence per task and measurement: the difference that is found with 80 % power at the 5 % level."""
    seeds = len(config.seeds)
    lines = []
    for task in config.tasks:
        built = config.test_recipe(task, config.length).rows
        parts = [f"{name} {least(rows or built, seeds):.2f} ({rows or built} rows)" for name, rows in measured(config)]
        runs = f"{seeds} seed{'s' if seeds > 1 else ''}"
        lines.append(f"{task}, {runs}: a difference of {', '.join(parts)}")
    assumed = f"a paired difference spreads by {SPREAD} over questions and {SEED_SPREAD} over seeds"
    return ["What it can see (80 % power, 5 % level; " + assumed + "):", *lines]


def measured(config: StudyConfig) -> list[tuple[str, int | None]]:
    """What is compared, and on how many test rows; None: all."""
    parts = {"settings": config.evaluation, "masking": config.ablation, "patching": config.patching}
    return [(name, part.rows) for name, part in parts.items() if part is not None]


def least(rows: int, seeds: int) -> float:
    """The smallest difference that is found; of one seed it is of that training run alone."""
    return detectable(SPREAD, rows, seeds, SEED_SPREAD if seeds > 1 else 0.0)
