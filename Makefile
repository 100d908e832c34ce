# Needs nothing installed by hand but Python 3.10 or newer, Node with npm, and make.
# What a target needs is made once; the files under .cache/ say what has been done.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: help demo test lint types imports python-tests extension-tests bench editors vsix clean

# The first of these that is new enough and can make virtual environments; PYTHON=… goes before them.
PYTHONS := $(PYTHON) python3.13 python3.12 python3.11 python3.10 python3
BIN := .venv/bin
EXTENSION := vscode-extension
EDITOR_SCRIPTS := $(wildcard tests/editors/install.sh tests/editors/vscode/setup.sh)
PYTEST_ARGS ?=

help:
	@echo "make demo     a sample app, a scripted editor, and what each save did"
	@echo "make test     everything that must pass: lint, types, imports, the extension, pytest"
	@echo "make lint     ruff, mypy --strict and the import contract alone"
	@echo "make bench    the benchmarks, one table each (minutes)"
	@echo "make editors  the real editors that tests drive, into .cache/ and the system (minutes)"
	@echo "make vsix     the VS Code extension, packaged"
	@echo "make clean    forget all of that"

# --- what the rest stands on --------------------------------------------------------------------

# A candidate is asked for its sys.executable, so that an environment never stands on a pyenv shim,
# which answers --version and then can't find itself.
.venv/.ready: pyproject.toml
	@if [ ! -x $(BIN)/python ]; then \
	  found=; \
	  for candidate in $(PYTHONS); do \
	    found=$$($$candidate -c 'import sys, venv, ensurepip; sys.version_info < (3, 10) and sys.exit(1); print(sys.executable)' \
	      2>/dev/null </dev/null) && break || found=; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "make: no Python 3.10 or newer with venv and ensurepip among: $(PYTHONS)" >&2; \
	    echo "make: install one (Debian: apt-get install python3-venv), or say make PYTHON=/path/to/python" >&2; \
	    exit 1; \
	  fi; \
	  echo "make: .venv from $$found"; \
	  "$$found" -m venv .venv; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(EXTENSION)/node_modules/.ready: $(EXTENSION)/package.json $(EXTENSION)/package-lock.json
	cd $(EXTENSION) && npm ci --no-audit --no-fund
	@touch $@

.cache/editors.ready: $(EDITOR_SCRIPTS)
	@mkdir -p .cache
	for script in $(EDITOR_SCRIPTS); do bash "$$script" </dev/null; done
	@touch $@

# --- what people ask for --------------------------------------------------------------------------

demo: .venv/.ready
	@$(BIN)/onsave demo

# The cheap ones first. Most tests wait rather than work, so two run at once; a real editor wants
# the machine for itself. pytest comes last, so that its closing line closes the run.
test: lint extension-tests python-tests

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

python-tests: .venv/.ready
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/editors $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/editors $(PYTEST_ARGS)

extension-tests: $(EXTENSION)/node_modules/.ready .venv/.ready
	cd $(EXTENSION) && npm run lint && npm run check && npm test && PYTHON="$(CURDIR)/$(BIN)/python" npm run package

vsix: $(EXTENSION)/node_modules/.ready .venv/.ready
	cd $(EXTENSION) && PYTHON="$(CURDIR)/$(BIN)/python" npm run package

editors: .venv/.ready .cache/editors.ready

bench: .venv/.ready
	@$(BIN)/python -m tests.benchmarks

clean:
	rm -rf .venv .cache dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache tests/artefacts
	rm -rf $(EXTENSION)/node_modules $(EXTENSION)/dist $(EXTENSION)/out $(EXTENSION)/bundled $(EXTENSION)/*.vsix
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
