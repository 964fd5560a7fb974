"""Where cells run: one runner a file, behind one seam. Importing this imports neither torch nor Ray nor submitit."""

from haymaker.study.runners.choose import open_runner
from haymaker.study.runners.serial import SerialRunner
from haymaker.study.runners.work import Outcome, Runner, Work, perform

__all__ = ["Outcome", "Runner", "SerialRunner", "Work", "open_runner", "perform"]
