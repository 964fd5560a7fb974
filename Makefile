# Two commands: `make demo` (the miniature study, from nothing to a report) and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types clean
demo: .venv/demo
	$(BIN)/haymaker study run miniature

test: .venv/dev
	$(BIN)/python -m pytest

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/pyright

# torch first and alone: any other package that asks for it would resolve a CUDA build of several gigabytes.
.venv/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/dev: .venv/demo
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs build src/*.egg-info
