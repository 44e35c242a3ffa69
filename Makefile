# `make demo` and `make test` each set up everything they need in .venv, once.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test test-fast test-media test-faults test-fuzz check format docs films bench

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet \
		--editable '.[dev,evaluate]' --constraint constraints.txt
	@touch $@

demo: $(READY)
	$(BIN)/archive-restore demo --out demo

# What takes long starts a Ray, and two of them at once on one machine disturb each other.
test: $(READY)
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile
	$(BIN)/python -m pytest -m slow

test-fast: $(READY)
	$(BIN)/python -m pytest -m "not slow"

test-media: $(READY)
	TEST_MEDIA=1 $(BIN)/python -m pytest tests/pipeline/media/test_formats.py

test-faults: $(READY)
	TEST_FAULTS=1 $(BIN)/python -m pytest tests/pipeline/test_faults.py tests/pipeline/test_faults_by_class.py

test-fuzz: $(READY)
	$(BIN)/python -m tests.support.fuzz 2000

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m jobs.pages.docs --check

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python -m jobs.pages.docs

films: $(READY)
	$(BIN)/python -m jobs.pages.films "$${ARCHIVE_RESTORE_DATA:?name the folder with archive/}/archive"

bench: $(READY)
	$(BIN)/python -m jobs.evaluate.bench
