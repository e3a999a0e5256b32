# `make` alone explains every target. Python 3.11+ is all that `make demo` needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo demo-venv venv test test-fast chaos fuzz storm lint format generate kafka kafka-jars lock wheel clean

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
# Nothing here talks to a person while it installs; a hash that differs stops it.
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-input
# Linear algebra on many threads only gets in its own way beside a broker, a queue and a browser.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

help: ## Explain the targets
	@echo "Tiebreak: real-time active learning on streams."
	@echo
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):.*## (.*)/\1\t\2/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'
	@for file in loadtests/bench_*.py; do test -e "$$file" || continue; name=$$(basename "$$file" .py); name=$${name#bench_}; \
		printf "  make %-14s %s\n" "bench-$${name//_/-}" "$$(sed -n '1s/^"*//p' "$$file" | sed 's/"*$$//')"; done
	@echo
	@echo "  QUICK=1 makes a benchmark short. PYTHON=python3.12 chooses another Python, VENV=path another environment."

# --- environments ------------------------------------------------------------------------------------------------------

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Tiebreak needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Try: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

# pip writes the environment in place: a stamp per lock says that it is complete.
$(VENV)/.demo: requirements-demo.lock pyproject.toml | $(PY)
	$(PIP) --require-hashes -r requirements-demo.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(PY)
	$(PIP) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo-venv: $(VENV)/.demo

venv: $(VENV)/.dev ## Make the environment for development in .venv

# --- what a newcomer runs ------------------------------------------------------------------------------------------------

demo: $(VENV)/.demo ## Run the whole loop on a drifting stream of digits (about two minutes, Python alone)
	$(PY) -m tiebreak.apps.cli demo $(DEMO_ARGS)

# --- what a developer runs -----------------------------------------------------------------------------------------------

test: $(VENV)/.dev kafka-jars ## Run all tests, real Kafka and Redis included; what is missing skips with one line
	$(PY) -m pytest -q --ignore=tests/chaos $(PYTEST_ARGS)

test-fast: $(VENV)/.dev ## Run the tests that need no server and no browser
	$(PY) -m pytest -q tests/unit tests/properties tests/architecture -m "not redis and not kafka and not browser" $(PYTEST_ARGS)

chaos: $(VENV)/.dev kafka-jars ## Kill processes again and again, and the trainer at every system call of its ledger (minutes; KILLS=50 SEED=2 for more)
	$(PY) -m pytest -q -s tests/chaos $(PYTEST_ARGS)

fuzz: $(VENV)/.dev ## Try the HTTP API with requests made from its OpenAPI document (EXAMPLES=250 per route)
	TIEBREAK_FUZZ_EXAMPLES=$(or $(EXAMPLES),250) $(PY) -m pytest -q tests/properties/test_http_fuzz.py $(PYTEST_ARGS)

storm: $(VENV)/.dev ## Hang up on the queue over a slow line, again and again (REQUESTS=100000)
	TIEBREAK_STORM=$(or $(REQUESTS),100000) $(PY) -m pytest -q tests/contracts/test_cancel_storm.py $(PYTEST_ARGS)

lint: $(VENV)/.dev ## Check style, types, the import rule and the generated files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) -m scripts.generate --check

format: $(VENV)/.dev ## Put the code into the house style
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

generate: $(VENV)/.dev ## Make what is made from something else: wire classes, schemas, the dashboard
	$(PY) -m scripts.generate

kafka: $(VENV)/.dev ## Run an Apache Kafka broker on 127.0.0.1:9092 until Ctrl-C (Java 17+; jars through Maven, once)
	$(PY) -m scripts.kafka run

# Without Java or Maven this says so and the Kafka tests skip; in CI they fail then.
kafka-jars:
	@if command -v java >/dev/null && command -v mvn >/dev/null && test -z "$$TIEBREAK_TEST_KAFKA"; then $(PYTHON) -m scripts.kafka fetch; fi

bench-%: $(VENV)/.dev ## Run one benchmark; its table is printed and its figures go to loadtests/results/
	$(PY) -m loadtests.bench_$(subst -,_,$*)

# Universal: one lock for every Python from 3.11 and every system; no index address in it. requirements.in adds the build tool.
COMPILE := uv pip compile pyproject.toml requirements.in --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate --quiet

lock: ## Make the four lock files again from pyproject.toml (needs uv)
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --extra demo --extra parquet --constraint requirements.lock --output-file requirements-demo.lock
	$(COMPILE) --extra dev --constraint requirements-demo.lock --output-file requirements-dev.lock
	$(COMPILE) --extra ner --extra parquet --extra partial-fit --extra privacy --extra trees --constraint requirements-dev.lock \
		--output-file requirements-extras.lock

wheel: $(VENV)/.dev ## Build the wheel into dist/
	$(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean: ## Remove the environment, caches and what demos left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache build dist demo-out .tiebreak
	find services tests scripts loadtests -name __pycache__ -type d -prune -exec rm -rf {} +
