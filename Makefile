# Sets up a virtual environment for the chosen Python (PYTHON=python3.12 make test) and works in it.
#   make demo        digits (FSDD= names them, else fetched) or mini_an4: base, cascade, WER table
#   make mini_an4    the mini_an4 recipe: data, base, cascade, WER tables
#   make test        the fast tests (PYTEST_ARGS="-m slow": repeats; "-m recipe": whole recipes)
#   make lint        ruff, mypy and shellcheck, in the versions that setup.py names
#   make install     the environment alone
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null)
VENV ?= .venv-$(VERSION)
PYTEST_ARGS ?=
# no: install where it may not fit.
CHECK_SPACE ?= yes
# Each imports ESPnet (1 GB); the tests of one file run in one of them, in their order.
WORKERS ?= 2
BIN := $(shell realpath -m "$(VENV)/bin")
IN_VENV := PATH="$(BIN):$$PATH"
# Make parts words at blanks: in the name of a target they are escaped.
blank := $() $()
STAMPS := $(subst $(blank),\ ,$(VENV))

.PHONY: demo mini_an4 test lint install clean
demo: install
	$(IN_VENV) egs2/demo.sh

mini_an4: install
	cd egs2/mini_an4/asr1 && $(IN_VENV) ./run.sh

test: install
	$(IN_VENV) OMP_NUM_THREADS=1 python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

lint: $(STAMPS)/.linters
	$(IN_VENV) ruff format --check .
	$(IN_VENV) ruff check .
	$(IN_VENV) mypy
	$(IN_VENV) shellcheck $$(git ls-files '*.sh') .ci/run

install: $(STAMPS)/.installed

$(STAMPS)/.installed: setup.py
	@[ -n "$(VERSION)" ] || { echo "$(PYTHON) is no Python that runs; choose one of 3.11 to 3.13 with PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed; choose one with PYTHON=")'
	@$(PYTHON) -c 'import os, shutil, sys; sys.exit(0 if sys.version_info < (3, 13) or os.environ.get("CXX") or shutil.which("g++") else "Python 3.13 needs g++, by which pip builds editdistance; install it, or choose Python 3.12 with PYTHON=")'
	@[ "$(CHECK_SPACE)" = no ] || $(PYTHON) .ci/free_space.py "$(VENV)"
	$(PYTHON) -m venv "$(VENV)"
	@echo "Installing ESPnet and torch into $(VENV), by pip: minutes without a word"
	"$(VENV)/bin/python" -m pip install --quiet --editable '.[tested,test]'
	touch "$@"

$(STAMPS)/.linters: $(STAMPS)/.installed
	"$(VENV)/bin/python" -m pip install --quiet --editable '.[lint]'
	touch "$@"

clean:
	rm -rf .venv-*
