# `make` alone lists the targets. Everything runs inside .venv, which is made from requirements.lock.

PROFILE ?= quick
DATA_ROOT ?= data
PYTHON ?= python3
ifeq ($(origin TRAININGS),undefined)
TRAININGS := $(CURDIR)/runs/.trainings
endif

# What is given is text: make shall not expand it, nor the shell, which gets it in its environment.
GIVEN := PROFILE DATA_ROOT TRAININGS EXP PARAMS BRIEF AUTHOR ID QUICK NAME KEEP
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name))))
export $(GIVEN)

BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help book pages handins test check faults audit bench run list status compare submission serve clean lock

help:  ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

book: $(READY)  ## run what is missing and make _build/html/index.html and _build/book.pdf  [PROFILE=full DATA_ROOT=…]
	$(BIN)/benchbook build --profile "$$PROFILE"

pages: $(READY)  ## check every page, link and PDF of the built book, in Chromium
	$(BIN)/python -m tests.pages _build/html --pdf _build/book.pdf

handins: $(READY)  ## make the five courses' hand-ins as drafts, and check them against their briefs
	$(BIN)/python -m tests.handins

test: $(READY)  ## all tests
	$(BIN)/python -m pytest

check: $(READY)  ## format, lint, types, fast tests
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff format --check --line-length 80 experiments  # the width of a page
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow and not browser and not data"

faults: $(READY)  ## cause every fault many times, and show what came of it  [KEEP=1: into reference/, for the book's page]
	$(BIN)/python -m pytest tests/faults --faults -q
	$(if $(KEEP),mkdir -p reference && cp _build/faults.json reference/faults.json)

audit: $(READY)  ## known vulnerabilities in requirements.lock, licences of all that is installed, secrets in the tree
	$(BIN)/python -m tests.audit

bench: $(READY)  ## measure what is promised, against its peers, into _build/bench.json  [QUICK=1 KEEP=1 NAME=engine]
	TRAININGS= OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(if $(KEEP),--keep) $(if $(NAME),$$NAME)

run: $(READY)  ## one experiment with parameters of your own: EXP=colourisation_regression PARAMS="epochs=50 num_filters=64"
	@test -n "$$EXP" || { echo 'make run: which experiment? Give EXP=NAME; `make list` shows the names' >&2; exit 2; }
	@set -f; set --; for word in $$PARAMS; do set -- "$$@" "--parameter=$$word"; done; $(BIN)/benchbook run "$$@" "$$EXP"

list: $(READY)  ## the experiments with their parameters
	@$(BIN)/benchbook list

status: $(READY)  ## how each run of the profile stands, and why  [PROFILE=full]
	@$(BIN)/benchbook status --profile "$$PROFILE"

compare: $(READY)  ## the runs of one experiment side by side: EXP=colourisation_regression  [PROFILE=full]
	@test -n "$$EXP" || { echo 'make compare: which experiment? Give EXP=NAME; `make list` shows the names' >&2; exit 2; }
	@$(BIN)/benchbook compare "$$EXP" --profile "$$PROFILE"

submission: $(READY)  ## what a course wants handed in: BRIEF=iith|cmp717|csc413|csc321|bonn AUTHOR="First Last" ID=…  [PROFILE=full QUICK=1]
	@test -n "$$BRIEF" || { echo 'make submission: which brief? Give BRIEF=NAME, as in book/briefs.yml' >&2; exit 2; }
	@$(BIN)/benchbook submission "$$BRIEF" --author "$$AUTHOR" --id "$$ID" --profile "$$PROFILE" $(if $(QUICK),--quick)

serve: $(READY)  ## show the built book on a free port of this machine
	@$(BIN)/benchbook serve

clean:  ## remove the built book and all runs; .venv and data stay
	rm -rf _build runs

lock: $(READY)  ## make requirements.lock anew from pyproject.toml (for maintainers)
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra slurm --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --upgrade --quiet --output-file requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'make: Python 3.11 or newer is needed; name one with PYTHON=…' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'make: this Python has no venv: apt install python3-venv' >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
