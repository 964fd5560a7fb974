"""One of each: a task (this module), a concept, a context, a metric, a detector and an edit."""

from functools import partial

from haymaker.attention.edit_kinds import Edit
from haymaker.drafts import Document, Drafts, Style
from haymaker.heads.detectors import Detector
from haymaker.miniature.world import ANSWER, BY_NAME, World
from haymaker.realism.context import Around, filler_document, passages
from haymaker.realism.wording import TemplateProse, fact_key, wording_of, world_draw
from haymaker.records import Label, Segment
from haymaker.tasks.facts import facts_draft

METRICS = ("starts_with", "squad_f1")  # the task's, the headline first
STYLE = Style("plain", document="- {text}", tail="\nQuestion: {question}\nAnswer:")


def drafts(recipe):
    """The task: where somebody of the miniature world was born, in whatever concept and context the recipe asks for."""
    world = World(recipe.split, recipe.seed)

    def draft(row):
        draw = world_draw(world, row)
        fact, *rivals = world.facts(draw("facts"), 1 + recipe.rivals, BY_NAME["birthplace"])
        wording, diverse = wording_of(recipe, draw), partial(passages, world, draw("passages"))
        return facts_draft(recipe, wording, [fact], rivals, diverse=diverse, draw=draw, source={"dataset": "births"})

    return Drafts(draft, STYLE)


class Ledger(TemplateProse):
    """The concept: a fact is a line like "birthplace of Kobal: Sudrin"."""

    def document(self, fact, place, role, hop=0, answers=False):
        evidence = (Label("evidence", hop),) if role == "gold" else ()
        before = Segment(f"{fact.relation.name} of {fact.subject}: ", evidence)
        said = Segment(fact.object, (*evidence, ANSWER) if answers else evidence)
        return (Document(fact_key(fact), (before, said), role, fact.subject),)


def weather(row):
    """The context: reports of the weather, without end."""

    def reports():
        rng = row.draw("weather")
        while True:
            text = f"It was {rng.choice(['dry', 'wet', 'cold'])} for {rng.randrange(2, 40)} days."
            yield filler_document(text, text)

    return Around(reports)


def starts_with(prediction, golds):
    """The metric: 1 if the answer starts with a gold, else 0."""
    return float(any(prediction.strip().startswith(gold) for gold in golds))


FIRST_MASS = Detector(
    lambda sight: sight.mass[..., 0]
)  # attention on the needle where the answer's first token is made


class Half(Edit):
    """The edit: heads write half of what they wrote."""

    def compute(self, target):
        return target.read(target.rows) / 2
