# Every target does its own set-up: on a bare machine only Python 3.10-3.14 and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
INSTALL := $(BIN)/python -m pip install -qq --no-deps --no-compile
# On all cores, where pip takes one. Uncompiled, every run's process would spend 6 s more (PYTHONDONTWRITEBYTECODE, a read-only disk).
COMPILE_ALL := -$(BIN)/python -m compileall -q -j 0 -x '/tests?/' $(VENV)/lib ut_clips_dagster
ARGS ?=

.PHONY: setup setup-dev demo test proof dev lint format lock

setup: $(STAMP)

$(STAMP): requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-build-isolation --editable .
	$(COMPILE_ALL)
	@touch $@

setup-dev: $(DEV_STAMP)

$(DEV_STAMP): $(STAMP) requirements-dev.lock
	$(INSTALL) --require-hashes -r requirements-dev.lock
	$(COMPILE_ALL)
	@touch $@

demo: setup  ## The whole platform on your desk: simulator, Dagster, sensors. ARGS=--exit ends when all is archived.
	$(BIN)/ut-clips demo $(ARGS)

test: setup-dev lint
	$(BIN)/python -m pytest $(ARGS)

proof: setup-dev  ## Every invariant and every failure of the fault matrix, each with its result (minutes)
	$(BIN)/python -m ut_clips_dagster_tests.proof

lint: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

dev: setup  ## Dagster on your own settings (.env); DAGSTER_HOME is .dagster/
	mkdir -p .dagster && cp dagster.yaml .dagster/dagster.yaml
	$(BIN)/ut-clips check-settings
	DAGSTER_HOME=$(CURDIR)/.dagster $(BIN)/dagster dev

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

COMPILE := .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header --generate-hashes setup.cfg

lock:  ## Renew the pinned versions: what runs, and what develops and tests it
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	$(COMPILE) --extra dev -o requirements-dev.lock
	$(COMPILE) --extra build -c requirements-dev.lock -o requirements.lock
	rm -rf .venv-lock
