# Everything here sets up what it needs first: a virtual environment with the locked dependencies.
# Nothing but Python 3.11 or newer and make has to be on the machine.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTS ?=
BENCH ?=
FIGURES := $(VENV)/figures.jsonl
RUNS ?=
# In the order of the folders: what needs engines first, and the short unit tests fill the end.
LANES := -n 3 --dist loadfile --no-loadscope-reorder
SEED ?=

# Pure Python that is published as source only; nothing else is built here.
SOURCES := http-ece

# The first of these that is new enough and can make virtual environments.
CANDIDATES := python3 python3.11 python3.12 python3.13 python3.14 python
FITS := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help install demo test long faults model model-engines bench check format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with the locked dependencies

$(STAMP): requirements.lock pyproject.toml
	@python=; for candidate in $(CANDIDATES); do \
	  if command -v $$candidate >/dev/null 2>&1 && $$candidate -c '$(FITS)' 2>/dev/null; then \
	    python=$$candidate; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "error: no Python 3.11 or newer with venv was found (tried: $(CANDIDATES));" \
	       "install one, or call make CANDIDATES=/path/to/python" >&2; exit 2; fi; \
	[ -x $(BIN)/python ] || $$python -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  --only-binary :all: --no-binary $(SOURCES) -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation -e .
	@touch $@

demo: install ## Start everything, simulate a population, compare with the oracle (DEMO_SECONDS, DEMO_JSON)
	@$(BIN)/murmur demo

test: install ## Run the tests on real engines (TESTS=path or options for pytest)
	@$(BIN)/python -m pytest $(LANES) -m "not long" $(TESTS)

long: install ## Run what is too long for `make test` and no fault: more histories on the engines
	@$(BIN)/python -m pytest $(LANES) -m "long and not fault" $(TESTS)

faults: install ## Run every fault test, and write what it measured into docs/reliability.md
	@rm -f $(FIGURES); \
	MURMUR_TEST_FIGURES=$(FIGURES) $(BIN)/python -m pytest -m "fault" $(TESTS); status=$$?; \
	$(BIN)/python -m tests.faults.figures $(FIGURES) docs/reliability.md $(if $(TESTS),,--whole); \
	exit $$status

model: install ## Compare 1,000 random runs in memory with the oracle (RUNS=n, SEED=n repeats a lot)
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.model $(RUNS:%=--runs %) $(SEED:%=--seed %)

model-engines: install ## The same on the real engines, 20 runs (RUNS=n, SEED=n)
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.model --engines --runs $(or $(RUNS),20) $(SEED:%=--seed %)

bench: install ## Run the benchmarks (BENCH=name for one, BENCH_JSON=path for a file)
	@$(BIN)/python -m tests.benchmarks $(BENCH)

check: install ## Format, lint, types, import contracts, schema compatibility
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m schemas.check

format: install ## Format the code and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove .venv and caches; data under .murmur stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
