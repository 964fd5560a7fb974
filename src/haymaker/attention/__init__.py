"""Attention while a model runs: the one registered function, and what reads and writes through it."""
