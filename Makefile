# Sets up a virtual environment for the chosen Python (PYTHON=python3.12 make test) and works in it.
#   make demo        mini_an4: data, baseline, cascade, WER tables
#   make test        the fast tests (PYTEST_ARGS="-m recipe" runs the whole recipe as a test)
#   make install     the environment alone
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV ?= .venv-$(VERSION)
PYTEST_ARGS ?=

.PHONY: demo test install clean
demo: install
	cd egs2/mini_an4/asr1 && PATH="$(abspath $(VENV))/bin:$$PATH" ./run.sh

test: install
	PATH="$(abspath $(VENV))/bin:$$PATH" OMP_NUM_THREADS=1 python -m pytest $(PYTEST_ARGS)

install: $(VENV)/.installed

$(VENV)/.installed: setup.py
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed; choose one with PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf .venv-*
