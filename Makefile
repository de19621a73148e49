# Every target does its own set-up: on a bare machine only Python 3.10-3.13 and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.PHONY: setup demo test proof dev lint format lock

setup: $(STAMP)

$(STAMP): requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --no-deps --require-hashes --no-compile -r requirements.lock
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --no-compile --editable .
	@touch $@

demo: setup  ## The whole platform on your desk: simulator, Dagster, sensors. ARGS=--exit ends when all is archived.
	$(BIN)/ut-clips demo $(ARGS)

test: setup lint
	$(BIN)/python -m pytest $(ARGS)

proof: setup  ## Every invariant and every failure of the fault matrix, each with its result (minutes)
	$(BIN)/python -m ut_clips_dagster_tests.proof

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

dev: setup  ## Dagster on your own settings (.env); DAGSTER_HOME is .dagster/
	mkdir -p .dagster && cp dagster.yaml .dagster/dagster.yaml
	$(BIN)/ut-clips check-settings
	DAGSTER_HOME=$(CURDIR)/.dagster $(BIN)/dagster dev

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:  ## Renew the pinned versions
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header --generate-hashes --extra dev setup.cfg -o requirements.lock
	rm -rf .venv-lock
