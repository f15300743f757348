"""Benchmarks, each a ratio to a named peer: `python -m experiments.bench NAME`."""
