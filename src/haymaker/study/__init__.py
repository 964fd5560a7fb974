"""Studies: a grid of cells, each made once and kept by its content; local by default. Imports no torch."""

from haymaker.study.config import StudyConfig
from haymaker.study.engine import Summary, execute
from haymaker.study.plan import Plan, plan_study
from haymaker.study.store import Store

__all__ = ["Plan", "Store", "StudyConfig", "Summary", "execute", "plan_study"]
