# `make demo` and `make test` do all their set-up from nothing, in .venv, and repeat cheaply.
PYTHON ?= python3
BIN = .venv/bin
# Tests whose numbers could depend on the order in which a processor adds.
NUMERIC = sums metrics radius_metrics ranked graded statistics presets results counts linear losses \
  methods rows itq sdh cnnh

.PHONY: demo test narrow lint clean

demo: .venv/ready
	$(BIN)/python -m experiments.train --config=configs/digits.py --workdir=runs/digits
	@echo "Open runs/digits/report.html in a browser."

test: .venv/ready lint
	$(BIN)/python -m pytest -m "not slow" -n 2

# What a processor without AVX-512 sees.
narrow: .venv/ready
	XLA_FLAGS=--xla_cpu_max_isa=AVX2 $(BIN)/python -m pytest -m "not slow" -n 2 $(NUMERIC:%=tests/test_%.py)

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
