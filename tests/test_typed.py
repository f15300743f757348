"""A wrong argument of the public rooms is an error to a type checker."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
CALLS = {
    "codes.pack_bits('a')": "bad-argument-type",
    "codes.hamming_distance(a, b, 3)": "bad-argument-count",
    "losses.multilabel_margin_loss('x', b, exponent=1)": "bad-argument-type",
    "losses.multilabel_margin_loss(a, b, exponent=3)": "bad-argument-type",
    "losses.multilabel_margin_loss(a, b, exponnt=1)": "unexpected-keyword",
    "metrics.average_precision(1, a)": "bad-argument-type",
    "metrics.precision_at(a, b)": "missing-argument",
    "retrieval.search(a, b, 'k')": "bad-argument-type",
    "network.Encoder().apply()": "missing-argument",
    "results.retrieve(a, a, b, b, bits='48')": "bad-argument-type",
    "codes.pack_bits(a)": "",
    "codes.pack_bits(b)": "",
    "losses.multilabel_margin_loss(a, b, exponent=1)": "",
    "metrics.precision_at(a, b, k=100)": "",
}


def test_wrong_arguments_are_caught_and_right_ones_pass(tmp_path):
    lines = [
        "import jax.numpy as jnp",
        "import numpy as np",
        "from dsh_jax import codes, losses, metrics, network, retrieval",
        "from dsh_jax.evaluation import results",
        "a, b = np.zeros((2, 3)), jnp.zeros((2, 3))",
        *CALLS,
    ]
    (tmp_path / "calls.py").write_text("\n".join(lines) + "\n")
    (tmp_path / "pyrefly.toml").write_text("")  # all of its errors, as in a project
    command = [pathlib.Path(sys.executable).with_name("pyrefly"), "check", "calls.py"]
    command += [f"--search-path={ROOT}", f"--python-interpreter-path={sys.executable}"]
    done = subprocess.run(
        [*command, "--output-format=min-text"], cwd=tmp_path, capture_output=True, text=True
    )
    found = {}
    for line in done.stdout.splitlines():
        if "calls.py:" in line:
            row = int(line.partition("calls.py:")[2].partition(":")[0])
            found.setdefault(lines[row - 1], line.rpartition("[")[2].rstrip("]"))
    assert found == {call: error for call, error in CALLS.items() if error}, done.stdout
