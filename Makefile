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
# The versions that pip takes where it can, so that a new release of one of them breaks nothing here.
# Empty: the newest that fit.
CONSTRAINTS ?= .ci/constraints-$(VERSION).txt
# no: install where it may not fit.
CHECK_SPACE ?= yes
# Each imports ESPnet (1 GB); the tests of one file run in one of them, in their order.
WORKERS ?= 2
BIN := $(shell realpath -m "$(VENV)/bin")
PIP_INSTALL = "$(VENV)/bin/python" -m pip install --quiet --editable '.[tested,test]'
IN_VENV := PATH="$(BIN):$$PATH"
# Make parts words at blanks: in the name of a target they are escaped.
blank := $() $()
STAMPS := $(subst $(blank),\ ,$(VENV))

.PHONY: demo mini_an4 test lint install constraints clean
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

$(STAMPS)/.installed: setup.py $(wildcard $(CONSTRAINTS))
	@[ -n "$(VERSION)" ] || { echo "$(PYTHON) is no Python that runs; choose one of 3.11 to 3.13 with PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed; choose one with PYTHON=")'
	@$(PYTHON) -c 'import os, shutil, sys; sys.exit(0 if sys.version_info < (3, 13) or os.environ.get("CXX") or shutil.which("g++") else "Python 3.13 needs g++, by which pip builds editdistance; install it, or choose Python 3.12 with PYTHON=")'
	@[ "$(CHECK_SPACE)" = no ] || $(PYTHON) .ci/free_space.py "$(VENV)"
	$(PYTHON) -m venv "$(VENV)"
	@echo "Installing ESPnet and torch into $(VENV), by pip: minutes without a word"
	$(if $(CONSTRAINTS),$(PIP_INSTALL) --constraint $(CONSTRAINTS) || \
		echo "Not all versions of $(CONSTRAINTS) fit here: taking the newest that do" >&2)
	$(PIP_INSTALL)
	touch "$@"

$(STAMPS)/.linters: $(STAMPS)/.installed
	"$(VENV)/bin/python" -m pip install --quiet --editable '.[lint]'
	touch "$@"

# Of an environment that `make install CONSTRAINTS= VENV=NEW` has set up and the tests passed in.
constraints: install
	"$(VENV)/bin/python" -m pip freeze --exclude-editable | \
		grep -Ev '^(certifi|cuda-|nvidia-|triton)' > .ci/constraints-$(VERSION).txt

clean:
	rm -rf .venv-*
