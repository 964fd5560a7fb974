"""Datasets: built, on disk, checked and compared."""
