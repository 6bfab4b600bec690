# Two commands do everything: `make demo` and `make test`. Both set up what they need in .venv and .tocsin.
PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
.DEFAULT_GOAL := help
TESTS := $(patsubst %/,%,$(filter-out %/__pycache__/,$(wildcard tests/*/)))
QUICK := tests/unit tests/interop
SIDE_BY_SIDE = $(MAKE) --no-print-directory --jobs 2 --output-sync=target

.PHONY: help setup demo test up down faults drills bench sbom bench-stock bench-policy observe dashboards observe-tools lint types mypy pyright clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.ready: requirements.lock schemas/pyproject.toml producers/pyproject.toml consumers/pyproject.toml deploy/pyproject.toml
	@echo "Setting up .venv (Python packages, each checked against its hash) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tocsin needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e schemas -e producers -e consumers -e deploy
	@touch $@

setup: .venv/.ready  ## install everything into .venv

demo: setup  ## the main job on a real local Kafka, in a terminal, then everything is stopped
	@tocsin demo

up: setup  ## the demo's coalition, kept running for you to play with; `make down` ends it
	@tocsin demo --keep

down: setup  ## stop what `make up` started and delete its data
	@tocsin demo --stop

lint: setup  ## format, lint and import layers
	ruff format --check .
	ruff check .
	lint-imports

types: setup  ## mypy and pyright side by side, both strict, tests included
	@$(SIDE_BY_SIDE) mypy pyright

mypy: setup
	mypy

pyright: setup
	basedpyright

.tocsin/brokers.aot: .venv/.ready deploy/src/tocsin/deploy/cluster/jars.lock
	@mkdir -p .tocsin
	@env -u JDK_JAVA_OPTIONS python -m tests.classes $@

test: export JDK_JAVA_OPTIONS := "-XX:AOTCache=$(CURDIR)/.tocsin/brokers.aot" -Xlog:disable
test: lint  ## lint, types, unit and integration tests (real Kafka), short fault runs
	@$(SIDE_BY_SIDE) mypy pyright .tocsin/brokers.aot
	tocsin schemas lint
	@# what needs no Kafka first, then in the order of names: by default files of few tests come last, which are the longest
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 40 $(QUICK) $(filter-out $(QUICK),$(TESTS))

faults: setup  ## the long fault runs (two at a time, more than an hour)
	TOCSIN_FAULTS=long pytest --numprocesses 2 --dist worksteal tests/faults tests/bench tests/integration/test_policy_files.py \
		tests/unit/consumers/test_rebuild.py tests/unit/deploy/test_audit_verify.py

drills: setup  ## lose something, on three brokers under load (25 minutes; DRILL=name for one, RATE=20 for a slow machine)
	@python -m tests.drills $(DRILL) $(if $(RATE),--rate $(RATE))

bench: setup  ## copies a second, CPU and latency, beside two plain loops (ten minutes, on a quiet machine)
	@python -m tests.bench

bench-stock: setup  ## a million live lineages: taking their lane over, in how much memory (three minutes)
	@python -m tests.bench.stock

bench-policy: setup  ## a policy of 1,000 members and 50,000 ACLs: check, plan, change (five minutes)
	@python -m tests.bench.large_policy

sbom: setup  ## what the exchange is made of, as CycloneDX, into .tocsin/sbom
	@python -m deploy.container.sbom .tocsin/sbom

observe: setup  ## Prometheus in front of a running exchange: every panel shows, every alert fires (ten minutes)
	@python -m tests.observe

dashboards: setup  ## write deploy/observe/dashboards anew from the code
	@TOCSIN_GOLDEN=write pytest --quiet tests/unit/deploy/test_dashboards.py

observe-tools:  ## Prometheus, promtool and amtool into .tocsin/tools, from Debian's packages, without root
	@mkdir -p .tocsin/tools
	@cd .tocsin/tools && apt-get download -q prometheus prometheus-alertmanager
	@cd .tocsin/tools && for one in *.deb; do dpkg-deb -x $$one . && rm $$one; done

clean: down  ## remove .venv and .tocsin
	rm -rf .venv .tocsin
