# Two commands do everything: `make demo` and `make test`. Both set up what they need in .venv and .tocsin.
PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
.DEFAULT_GOAL := help

.PHONY: help setup demo test up down bench faults lint types clean

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
