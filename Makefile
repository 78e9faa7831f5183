# Two commands for a newcomer: `make demo` and `make test`. Everything lives in .venv and can be deleted.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CONFIG ?= configs/local.yaml
RECIPE ?= recipes/models/classification/xgboost_classifier.yaml
RUN ?= latest
LOCKED := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet
# the first interpreter from 3.11 to 3.13; PYTHON=… overrides
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$p" && break; done)

export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export PYTHONUTF8 := 1

.PHONY: help demo test check lint format lock docs train evaluate ui up down status logs bench clean

help: ## show this
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

$(STAMP): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "make: Python 3.11, 3.12 or 3.13 is needed and none was found; install one or name it: make PYTHON=/path/to/python3.11" >&2; exit 2; fi
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) (a minute or two, once) ..." >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src
	@touch $(STAMP)

demo: $(STAMP) ## set everything up and train the first model
	@$(BIN)/mmp train -c $(CONFIG) -r $(RECIPE)

test: $(STAMP) ## every test, servers included
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not infra" -q
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m infra -q

check: $(STAMP) ## lint, types, import contracts, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python docs/generate.py --check

lint: check ## the same as check

format: $(STAMP) ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(STAMP) ## write the pinned requirements anew (needs uv)
	@uv pip compile pyproject.toml --all-extras --group dev $(LOCKED) --output-file requirements.lock
	@uv pip compile mmp-local-dev/requirements.in --constraint requirements.lock $(LOCKED) --output-file mmp-local-dev/requirements.txt

docs: $(STAMP) ## write the generated reference
	@$(BIN)/python docs/generate.py

train: $(STAMP) ## train RECIPE with CONFIG
	@$(BIN)/mmp train -c $(CONFIG) -r $(RECIPE)

evaluate: $(STAMP) ## evaluate RUN on DATA
	@$(BIN)/mmp evaluate -c $(CONFIG) --run-id $(RUN) -d $(DATA)

ui: $(STAMP) ## MLflow's pages over the runs
	@$(BIN)/mmp ui -c $(CONFIG)

up down status logs: $(STAMP)
	@$(BIN)/mmp dev $@

up: ## start the local infrastructure: PostgreSQL, Redis, MLflow
down: ## stop it
status: ## what of it runs
logs: ## what it says

bench: $(STAMP) ## the benchmarks, side by side in one go
	@$(BIN)/python bench/train.py
	@$(BIN)/python bench/preprocess.py

clean: ## remove what make made (not your runs)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests docs bench -name __pycache__ -type d -prune -exec rm -rf {} +
