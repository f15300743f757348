"""Starts are timed until their first record, with compiled programs kept and not."""

import json
import os
import subprocess
import sys

import pytest
from commands import ROOT, SMALL


@pytest.mark.slow
def test_kept_programs_shorten_a_start():
    small = [f"--config.{name}={value}" for name, value in SMALL.items()]
    asked = ["--config=configs/digits.py:smoke", *small, "--rounds=1", "--points=0"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-m", "experiments.bench.start", *asked],
        capture_output=True, text=True, cwd=ROOT, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert set(found) == {
        "first step, no folder, s",
        "first step, empty folder, s",
        "first step, filled folder, s",
    }
    assert min(found.values()) > 0
