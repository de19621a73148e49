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

.PHONY: setup setup-dev demo test proof dev lint format lock screenshots

setup: $(STAMP)

# The pip that Python 3.10 and 3.11 bring takes three times as long; where no other is to be had, it does.
define INSTALL_ALL
	$(PYTHON) -m venv $(VENV)
	-$(BIN)/python -m pip install -qq --upgrade pip
	$(INSTALL) --require-hashes -r $(1)
	$(INSTALL) --no-build-isolation --editable .
	$(COMPILE_ALL)
endef

$(STAMP): requirements.lock setup.cfg pyproject.toml
	$(call INSTALL_ALL,requirements.lock)
	@touch $@

setup-dev: $(DEV_STAMP)

# It holds all that runs, too, in the same versions.
$(DEV_STAMP): requirements-dev.lock setup.cfg pyproject.toml
	$(call INSTALL_ALL,requirements-dev.lock)
	@touch $(STAMP) $@

demo: setup  ## The whole platform on your desk: simulator, Dagster, sensors. ARGS=--exit ends when all is archived.
	$(BIN)/ut-clips demo $(ARGS)

test: setup-dev lint
	$(BIN)/python -m pytest $(ARGS)

proof: setup-dev  ## Every invariant and every failure of the fault matrix, and two hosts by Ray and by Jobs, each with its result (minutes)
	$(BIN)/python -m ut_clips_dagster_tests.proof

lint: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

dev: setup  ## Dagster on your own settings (.env); DAGSTER_HOME is .dagster/
	mkdir -p .dagster && cp dagster.yaml .dagster/dagster.yaml
	$(BIN)/ut-clips check-settings
	DAGSTER_HOME=$(CURDIR)/.dagster $(BIN)/dagster dev

screenshots: setup-dev  ## The README's pictures, docs/images/: needs /usr/bin/chromium
	$(BIN)/python -m docs.screenshots

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

PIP_COMPILE := .venv-lock/bin/uv pip compile --quiet --universal --no-annotate --no-header --generate-hashes
COMPILE := $(PIP_COMPILE) --python-version 3.10 setup.cfg
BQ_EMULATOR := ut_clips_dagster_tests/warehouse/requirements

lock:  ## Renew the pinned versions: what runs, also in a container, what develops and tests it, and the tests' BigQuery emulator
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	$(COMPILE) --extra dev -o requirements-dev.lock
	$(COMPILE) --extra build -c requirements-dev.lock -o requirements.lock
	$(COMPILE) --extra build --extra s3 --extra postgres --extra kubernetes -c requirements-dev.lock -o deploy/requirements.lock
	$(PIP_COMPILE) --python-version 3.11 $(BQ_EMULATOR).in -o $(BQ_EMULATOR).lock
	rm -rf .venv-lock
