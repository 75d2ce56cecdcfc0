# Sets up a virtual environment for the chosen Python (PYTHON=python3.12 make test) and works in it.
#   make demo        mini_an4: data, base, cascade, WER tables
#   make test        the fast tests (PYTEST_ARGS="-m recipe" runs the whole recipe as a test)
#   make lint        ruff, mypy and shellcheck, in the versions that setup.py names
#   make install     the environment alone
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV ?= .venv-$(VERSION)
PYTEST_ARGS ?=
IN_VENV := PATH="$(abspath $(VENV))/bin:$$PATH"

.PHONY: demo test lint install clean
demo: install
	cd egs2/mini_an4/asr1 && $(IN_VENV) ./run.sh

test: install
	$(IN_VENV) OMP_NUM_THREADS=1 python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.linters
	$(IN_VENV) ruff format --check .
	$(IN_VENV) ruff check .
	$(IN_VENV) mypy
	$(IN_VENV) shellcheck $$(git ls-files '*.sh') .ci/run

install: $(VENV)/.installed

$(VENV)/.installed: setup.py
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed; choose one with PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[tested,test]'
	touch $@

$(VENV)/.linters: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --editable '.[lint]'
	touch $@

clean:
	rm -rf .venv-*
