# `make demo` and `make test` each set up everything they need in .venv, once.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test test-fast test-media test-faults fuzz test-plain test-other check format \
	docs films harm bench bench-small bench-memory bench-query gpu-check train-gpu

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet \
		--editable '.[c2pa,dev,evaluate]' --constraint constraints.txt
	@touch $@

demo: $(READY)
	$(BIN)/archive-restore demo --out demo

# What takes long starts a Ray, and two of them at once on one machine disturb each other.
test: $(READY)
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile
	$(BIN)/python -m pytest -m slow

test-fast: $(READY)
	$(BIN)/python -m pytest -m "not slow"

# The program alone, without the packages for tests: the command starts, and a clip is restored.
test-plain:
	$(PYTHON) -m venv .venv-plain
	.venv-plain/bin/python -m pip install --disable-pip-version-check --quiet . --constraint constraints.txt
	folder=$$(mktemp -d) && cd "$$folder" && "$(CURDIR)/.venv-plain/bin/python" \
		"$(CURDIR)/tests/support/restore_one.py" "$$folder"; status=$$?; rm -r "$$folder"; exit $$status

# What needs neither PyTorch nor Ray, on another version of Python where one is at hand.
OTHER ?= $(shell for p in python3.13 python3.12 $(HOME)/.pyenv/versions/3.1[23].*/bin/python3; do \
	test "$$($$p -c 'import sys; print(sys.version_info >= (3, 12))' 2>/dev/null)" = True && echo $$p && break; done)
OTHER_PINS := av boto3 botocore certifi click duckdb hypothesis iniconfig jmespath markdown-it-py mdurl \
	mypy_extensions narwhals numpy opencv-python-headless packaging pandas pandera pluggy polars psutil \
	polars-runtime-32 pyarrow pydantic pydantic_core Pygments pytest pytest-timeout python-dateutil rich \
	s3transfer safetensors shellingham six sortedcontainers typeguard typer typing-inspect typing-inspection \
	typing_extensions urllib3 annotated-types annotated-doc bagit
OTHER_TESTS := tests/schemas/test_schemas.py tests/jobs/console tests/pipeline/media tests/pipeline/sources
OTHER_WITHOUT := $(addprefix tests/pipeline/,media/test_formats.py media/test_fuzz.py media/test_muxer.py \
	sources/test_sequence.py)

test-other:
	@if test -z "$(OTHER)"; then echo "no other Python is at hand"; else \
	$(OTHER) -m venv .venv-other && \
	for name in $(OTHER_PINS); do grep -i "^$$name==" constraints.txt; done > .venv-other/pins.txt && \
	.venv-other/bin/python -m pip install --disable-pip-version-check --quiet --no-deps \
		--requirement .venv-other/pins.txt --editable . && \
	.venv-other/bin/python -m pytest -p no:cacheprovider -m "not slow" -k "not s3 and not in_a_store and not refused_store" \
		$(OTHER_TESTS) \
		$(addprefix --ignore=,$(OTHER_WITHOUT)); fi

test-media: $(READY)
	TEST_MEDIA=1 $(BIN)/python -m pytest tests/pipeline/media/test_formats.py

test-faults: $(READY)
	TEST_FAULTS=1 $(BIN)/python -m pytest tests/pipeline/test_faults.py

fuzz: $(READY)
	$(BIN)/python -m tests.support.media.fuzz 10000

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

harm: $(READY)
	$(BIN)/python -m jobs.evaluate.harm.suite "$${ARCHIVE_RESTORE_DATA:?name the folder with valid/ and archive/}" \
		"$${OUT:-harm}" $(HARM)

bench: $(READY)
	$(BIN)/python -m jobs.evaluate.bench

# On a bare machine with a GPU: PyTorch, NumPy, OpenCV, safetensors and PyAV are all that it needs.
gpu-check:
	$(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON)) -m jobs.evaluate.gpu_check $(GPU_CHECK)

# The same machine trains: banks, training and validation in one call of less than nine minutes.
train-gpu:
	$(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON)) -m jobs.training.gpu_train \
		--data "$${ARCHIVE_RESTORE_DATA:?name the folder with train/ and valid/}/train" \
		--valid "$${ARCHIVE_RESTORE_DATA}/valid" $(TRAIN_GPU)

bench-small: $(READY)
	$(BIN)/python -m jobs.evaluate.small_clips

bench-memory: $(READY)
	$(BIN)/python -m jobs.evaluate.memory

# Every view of `query` over a million clips and twenty million frames: 2 GB of tables, drawn first.
bench-query: $(READY)
	$(BIN)/python -m jobs.evaluate.query_scale
