# `make demo` and `make test` do all their set-up from nothing, in .venv, and repeat cheaply.
PYTHON ?= python3
BIN = .venv/bin
# A file's tests stay in one process, which trains and compiles for all of them.
PYTEST = $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder
# Tests whose numbers could depend on the order in which a processor adds.
NUMERIC = test_sums.py metrics evaluation/test_results.py retrieval/test_counts.py retrieval/test_linear.py \
  losses/test_terms.py methods/test_deep.py methods/test_rows.py methods/test_itq.py methods/test_sdh.py \
  methods/test_cnnh.py

.PHONY: demo test narrow lint clean

demo: .venv/trains
	$(BIN)/python -m experiments.train --config=configs/digits.py --workdir=runs/digits
	@echo "Open runs/digits/report.html in a browser."

test: .venv/ready lint
	$(PYTEST)

# What a processor without AVX-512 sees.
narrow: .venv/ready
	XLA_FLAGS=--xla_cpu_max_isa=AVX2 $(PYTEST) $(NUMERIC:%=tests/%)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyrefly check

# What training needs; `make test` adds its own. pip says nothing while it works: so it is said here.
.venv/trains: requirements-demo.txt requirements-encode.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	@echo "Installing 81 packages into .venv, 2.4 GB, most of it TensorFlow: one minute to several."
	$(BIN)/python -m pip install --quiet --requirement requirements-demo.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv/ready: .venv/trains requirements.txt
	@echo "Installing what the tests need besides."
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

clean:
	rm -rf .venv runs
