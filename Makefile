# Two commands: `make quickstart` runs the whole path on embedded data, `make test` sets up and passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STORE ?= store

.PHONY: quickstart test lint docs docs-site clean

quickstart: $(VENV)/.installed
	$(BIN)/codemix run recipes/quickstart.yaml --store $(STORE)

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/python -m ruff check codemix tests benchmarks
	$(BIN)/python -m ruff format --check codemix tests benchmarks
	$(BIN)/python -m mypy codemix

docs: $(VENV)/.installed
	$(BIN)/python -m codemix.recipe.docs docs
	$(BIN)/python -m codemix.cli.reference

docs-site: docs $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "site/index.html; with search: $(BIN)/python -m mkdocs serve"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"codemix needs Python 3.11, 3.12 or 3.13, this is {v[0]}.{v[1]}; choose another: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing codemix into $(VENV) (about 1 GB of packages; one to three minutes)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) $(STORE) site
