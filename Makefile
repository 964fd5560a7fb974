# `make demo`: the miniature study, from nothing to a report. `make test`, `make lint types docs`: what a change must pass.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test processors lint types docs clean
demo: .venv/demo
	$(BIN)/haymaker study run miniature

test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal  # a thread a process: more wait for each other

# Numbers must hold whatever the order in which a processor adds: every set of instructions that it has, a thread and two.
NUMBERS := attention evaluation heads interventions models training study/test_held.py
processors: .venv/dev
	for set in default avx2 $$(grep -q avx512f /proc/cpuinfo && echo avx512); do for threads in 1 2; do \
		echo "$$set, threads: $$threads"; ATEN_CPU_CAPABILITY=$$set OMP_NUM_THREADS=$$threads $(BIN)/python -m pytest \
		--numprocesses auto --dist worksteal $(NUMBERS:%=tests/%) || exit; \
	done; done

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: .venv/dev
	$(BIN)/pyright

docs: .venv/docs
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict --quiet
	! grep -rnE '(src=|<link [^>]*href=|url\()"?https?:' --include='*.html' site  # nothing is fetched from elsewhere

# torch first and alone: any other package that asks for it would resolve a CUDA build of several gigabytes.
.venv/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/dev: .venv/demo
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/docs: .venv/demo
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv runs site build src/*.egg-info
