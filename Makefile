# `make demo` and `make test` do all their set-up from nothing, in .venv, and repeat cheaply.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint clean

demo: .venv/ready
	$(BIN)/python -m experiments.train --config=configs/digits.py --workdir=runs/digits
	@echo "Open runs/digits/report.html in a browser."

test: .venv/ready lint
	$(BIN)/python -m pytest -m "not slow" -n 2

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/ready: requirements.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

clean:
	rm -rf .venv runs
