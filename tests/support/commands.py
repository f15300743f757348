"""The commands as a user starts them."""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from etils import epath

ROOT = epath.Path(__file__).parents[2]
FORCED = ("XLA_FLAGS", "JAX_NUMPY_RANK_PROMOTION")
SMALL = {
    "model.width": 1 / 32,
    "model.fc_dim": 8,
    "training.batch_size": 16,
    "loss.r": 0.0,
    "training.mode": "joint",
    "training.hashing_epochs": 0.0,
    "training.hashing_steps": 20,
}


def environment():
    """Return the variables of a command that compiles quickly, what it compiles being kept."""
    env = {name: value for name, value in os.environ.items() if name not in FORCED}
    # The latter so that a command does not start itself anew, see experiments/memory.py.
    return env | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "GLIBC_TUNABLES": ""}


def command(program, *flags):
    """Return the finished `python -m experiments.<program>`, its imports made already."""
    arguments = [f"experiments.{program}", *map(str, flags)]
    with tempfile.TemporaryDirectory(prefix="dsh_jax_command_") as folder:
        out, err = (pathlib.Path(folder) / name for name in ("out", "err"))
        out.touch()
        err.touch()
        order = {"module": arguments[0], "arguments": arguments[1:], "out": str(out)}
        server = _server()
        server.stdin.write(json.dumps(order | {"err": str(err)}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


@functools.cache
def _server():
    """Return this process's command_server, ready; it ends with this process, its input ending."""
    script = pathlib.Path(__file__).with_name("command_server.py")
    server = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=ROOT,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout.readline() == "ready\n"
    return server


def fresh(program, *flags, **variables):
    """Return the finished process of `python -m experiments.<program>`, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{program}", *flags],
        cwd=ROOT,
        env=environment() | variables,
        capture_output=True,
        text=True,
    )


def last_line(text):
    return text.strip().splitlines()[-1]
