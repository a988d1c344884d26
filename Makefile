# Two commands matter: `make demo` and `make test`. Both need Python 3.11 or newer and make, nothing else.

SHELL  := /bin/sh
PYTHON ?= python3
VENV   ?= .venv
# Words for `tenth demo` (ARGS=--interactive, ARGS=--full), for pytest (ARGS="-k log"), and for pip (PIP_FLAGS="--proxy ...").
ARGS      ?=
PIP_FLAGS ?=

BIN     := $(VENV)/bin
TSC     := $(VENV)/node/node_modules/.bin/tsc
TRAINER := $(VENV)/.ready-trainer
DEV     := $(VENV)/.ready-dev
NEEDS   := pyproject.toml constraints.txt tools/make_venv.sh

.DEFAULT_GOAL := help
.PHONY: help demo test system types check promises docs bench size
.DELETE_ON_ERROR:

help:  ## what can be made here
	@sed -n 's/^\([a-z]*\):.*## /  make \1 — /p' Makefile

demo: $(TRAINER)  ## train a small code model under the whole law, and watch (about six minutes)
	@$(BIN)/tenth demo $(ARGS)

test: system $(DEV) types  ## every check and every test (about twelve minutes)
	@$(MAKE) --no-print-directory check
	@echo "Running the tests ..."
	@$(BIN)/python tools/run_tests.py $(ARGS)

check: $(DEV)  ## lint, format, types, import contracts, size of the trusted core
	@echo "Checking the source ..."
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted. To mend it: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache >$(VENV)/lint-imports.log 2>&1 || { cat $(VENV)/lint-imports.log; exit 1; }
	@$(MAKE) --no-print-directory size

promises: $(DEV)  ## only the tests that hold docs/promises.md to its word
	@$(BIN)/python -m pytest -q tests/promises $(ARGS)

docs: $(DEV)  ## do the documents hold together: links, promises and their twins, charter reference, commands
	@$(BIN)/python -m pytest -q tests/house/test_docs.py tests/house/test_promises_and_twins.py $(ARGS)

bench: $(TRAINER)  ## measure, and write docs/benchmarks.md (about ten minutes)
	@$(BIN)/python benchmarks/run_all.py $(ARGS)

size:  ## lines of the trusted core, against their limit
	@$(PYTHON) tools/size.py

system:
	@sh tools/install_system.sh

types: $(DEV)
	@test -x $(TSC) || ! command -v npm >/dev/null || { echo "Installing TypeScript (npm) ..."; \
	  npm install --silent --no-audit --no-fund --prefix $(VENV)/node typescript@7.0.2; } || \
	  echo "*** npm could not install TypeScript: the types of the control room's pages are not checked."

$(TRAINER): $(NEEDS)
	@PYTHON="$(PYTHON)" PIP_FLAGS="$(PIP_FLAGS)" sh tools/make_venv.sh "$(VENV)" trainer
	@touch $@

$(DEV): $(NEEDS)
	@PYTHON="$(PYTHON)" PIP_FLAGS="$(PIP_FLAGS)" sh tools/make_venv.sh "$(VENV)" trainer,dev
	@touch $(TRAINER) $@
