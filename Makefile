# Two commands: `make quickstart` shows the program on a real graph, `make test` proves it.
# Python 3.11 or newer is all that is presumed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Real benchmark graphs, where they are at hand; tests that need them say so and are skipped otherwise.
ifneq ($(wildcard ../shared/data),)
export COROLLARY_DATA ?= $(abspath ../shared/data)
endif

.PHONY: quickstart test check lint bench recipe clean

quickstart: $(VENV)/installed
	$(BIN)/corollary quickstart --output quickstart

test: $(VENV)/test-installed lint
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup

check: $(VENV)/test-installed lint
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not slow"

lint: $(VENV)/test-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/test-installed
	$(BIN)/python bench/$(NAME).py

recipe: $(VENV)/installed
	$(BIN)/python recipes/run.py $(NAME)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[web,repurpose]"
	touch $@

$(VENV)/test-installed: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) quickstart build .pytest_cache .mypy_cache .ruff_cache .hypothesis
