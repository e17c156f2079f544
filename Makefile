# `make demo` and `make test` do all the set-up; nothing has to be installed by hand but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint clean

demo: .venv/demo
	$(BIN)/denizen demo --out runs/demo

test: .venv/test
	# a process a core, each file in one of them
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: .venv/test
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy

# torch comes first and by itself: 2.13.0 is a CPU build, and whatever is installed later must not replace it
.venv/torch:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "denizen needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet torch==2.13.0
	touch $@

.venv/demo: .venv/torch pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo]'
	touch $@

.venv/test: .venv/torch pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint]'
	touch .venv/demo $@

clean:
	rm -rf .venv runs build
