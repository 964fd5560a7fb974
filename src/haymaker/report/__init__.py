"""The report: rows of results.json in, one self-contained page out. It imports no stage and no torch."""

from haymaker.report.page import render, write_report

__all__ = ["render", "write_report"]
