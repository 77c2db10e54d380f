# Shortcuts; the work is done by setup_and_run.py, which needs no make.
PYTHON ?= python3
RUFF = .venv/bin/ruff

.PHONY: setup demo test quick-test lint format clean

setup:
	$(PYTHON) setup_and_run.py setup

demo:
	$(PYTHON) setup_and_run.py demo

test:
	$(PYTHON) setup_and_run.py test

# The tests that need neither Slicer's libraries nor minutes.
quick-test: setup
	.venv/bin/python -m pytest -m "not slow" --ignore=Testing/slicer_side --ignore=Testing/slicer_module --ignore=Testing/volume/slicer

lint: setup
	$(RUFF) check .
	$(RUFF) format --check .

format: setup
	$(RUFF) check --fix .
	$(RUFF) format .

clean:
	rm -rf .venv .venv-slicer .venv-slicer-preview output
