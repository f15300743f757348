"""Several processes that train one run."""

import contextlib
import os
import socket
import subprocess
import sys

import endless_run
from commands import ROOT
from etils import epath

from dsh_jax.training import build
from dsh_jax.training.checkpoint import Checkpoints

SUPPORT = epath.Path(__file__).parent


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def train_together(folder, devices, *, stop_step=0, variant="short"):
    """Train as one process for each number of devices; return when all have ended well."""
    folder.parent.mkdir(exist_ok=True)
    port, processes = free_port(), []
    for number, count in enumerate(devices):
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
            "JAX_COORDINATOR_BIND_ADDRESS": f"127.0.0.1:{port}",
        }
        command = [sys.executable, str(SUPPORT / "endless_run.py"), str(folder), variant]
        command += [str(stop_step), f"127.0.0.1:{port}", str(len(devices)), str(number)]
        log = (folder.parent / f"log-{number}").open("w")
        with log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
    codes = [process.wait(timeout=500) for process in processes]
    logs = [(folder.parent / f"log-{n}").read_text()[-3000:] for n in range(len(devices))]
    assert codes == [85 if stop_step else 0] * len(devices), "\n".join(logs)


def params_of(folder):
    config = endless_run.config("short")
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        saved = checkpoints.restore_latest(build.build(config).state_shapes)
    assert saved.step == 12
    return saved.state.params
