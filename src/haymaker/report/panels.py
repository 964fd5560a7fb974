"""The panels of the page: each takes tables and gives figures, none where there is nothing.

To add one: a function in a file beside this, a line in PANELS, and its heading and introduction in page.html.
"""

from collections.abc import Callable, Sequence

from haymaker.report.answer_panels import breakdown, measures
from haymaker.report.figures import Figure
from haymaker.report.head_panels import head_maps, similarity
from haymaker.report.intervention_panels import masking, patching
from haymaker.report.score_panels import lengths, scores
from haymaker.report.tables import Tables
from haymaker.report.time_panels import timings, tracking

# Name of a panel: the table it is drawn from, and how. Its heading and its prose are in page.html.
PANELS: dict[str, tuple[str, Callable[[Tables], Sequence[Figure]]]] = {
    "scores": ("evaluation", scores),
    "measures": ("evaluation", measures),
    "breakdown": ("breakdown", breakdown),
    "lengths": ("evaluation", lengths),
    "heads": ("heads", head_maps),
    "similarity": ("similarity", similarity),
    "masking": ("ablation", masking),
    "patching": ("patching", patching),
    "tracking": ("tracking", tracking),
    "timings": ("timings", timings),
}
