"""What the host spends on a step that does nothing on the device, for `experiments.bench`."""

import dataclasses
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from dsh_jax import parallel
from dsh_jax.runs import train
from dsh_jax.training import build, stages
from dsh_jax.training.pace import Pace
from dsh_jax.training.records import read_metrics
from experiments.bench.train import only_train

LEAVES = 278  # of the state of a network with ten convolutions and Muon
DEVICES = 2  # of each process


def bench_loop(config, *, steps: int, rounds: int) -> dict[str, float]:
    """Return milliseconds a step of the training loop, by what feeds it and the steps a program.

    Once by the clock on the wall, and once by the time on a processor of the thread that trains,
    which other programs on the machine do not change.

    Args:
      config: whose state, batch, records and data are used.
      steps: between two records.
      rounds: records; the median counts.

    Raises:
      ValueError: for fewer than 2 rounds, the first of which may hold compilation.
    """
    if rounds < 2:
        raise ValueError(f"--rounds={rounds}; pass at least 2: the first may hold compilation")
    only_train(config, steps=steps, rounds=rounds)
    config.data.resident = "on"
    run = build.build(config)

    def nothing(state, batch):
        metrics = {name: jnp.float32(0) for name in ("loss", "accuracy", "gradient_norm")}
        return state.replace(step=state.step + 1), metrics

    stage = dataclasses.replace(run.stages[-1], step=nothing)
    idle = dataclasses.replace(run, stages=[stages.mapped(stage, run.labelled_share)])
    fed = dataclasses.replace(idle, is_resident=False)
    sides = {
        f"resident, {steps} steps a program": (idle, True),
        "resident": (idle, False),
        "tf.data": (fed, False),
    }
    found = {"batch": stage.batch, "arrays": len(jax.tree.leaves(run.state_shapes(0)))}
    for name, (described, together) in sides.items():
        wall, own = _loop(config, described, together=together)
        found |= {f"{name}, ms": round(wall, 4), f"{name}, ms of its processor": round(own, 4)}
    return found


class _TwoClocks:
    """The pace by the clock on the wall and by the processor's time of this thread."""

    def __init__(self, batch_size: int):
        self._paces = Pace(batch_size), Pace(batch_size, time.thread_time)

    def step(self, count: int = 1) -> None:
        for pace in self._paces:
            pace.step(count)

    def pause(self) -> float:
        wall, _ = (pace.pause() for pace in self._paces)
        return wall

    def scalars(self) -> dict[str, float]:
        wall, own = (pace.scalars() for pace in self._paces)
        return wall | {"own": own["images_per_second"]} if own else {}


def _loop(config, run: build.Run, *, together: bool) -> list[float]:
    """Return the milliseconds a step of the thread that trains, by both clocks."""
    fast = mock.patch.object(parallel, "scans_fast", return_value=together)
    with fast, mock.patch.object(train, "Pace", _TwoClocks), tempfile.TemporaryDirectory() as name:
        folder = epath.Path(name) / "run"
        train.train(config, folder, described=run)
        records = [record for record in read_metrics(folder / "metrics.jsonl") if "own" in record]
    # The first record, where it has a speed, is of the steps after compilation.
    return [
        1e3 * run.stages[0].batch / statistics.median(record[key] for record in records[1:])
        for key in ("images_per_second", "own")
    ]


def bench_processes(*, steps: int, rounds: int) -> dict[str, float]:
    """Return milliseconds a step, by the wall and of the processors, with one process and two.

    Args:
      steps: in each measurement.
      rounds: measurements of each side, taken in turn; the median counts.
    """
    found = {}
    for processes in (1, 2):
        for name, value in _together(processes, steps, rounds).items():
            found[f"{processes}_{'process' if processes == 1 else 'processes'}_{name}"] = value
    return found


def _together(processes: int, steps: int, rounds: int) -> dict[str, float]:
    """Return what process 0 of so many measures."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}",
        "JAX_COORDINATOR_BIND_ADDRESS": address,
    }
    started = []
    for process in range(processes):
        settings = {
            "coordinator": address if processes > 1 else "",
            "processes": processes,
            "process": process,
            "steps": steps,
            "rounds": rounds,
        }
        command = [sys.executable, "-m", "experiments.bench.host", json.dumps(settings)]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE))
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise ValueError(f"one of {processes} processes failed; its errors stand above.")
    return json.loads(said[0].splitlines()[-1])


def _measure(*, coordinator, processes, process, steps, rounds) -> dict[str, float]:
    """Return the times of pmap and of `parallel_step` on LEAVES small arrays."""
    parallel.connect(coordinator, processes, process)

    def step(state, batch):
        return state, {"loss": jnp.float32(0), "rows": jnp.float32(len(batch))}

    by_pmap = jax.pmap(
        step, parallel.AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0
    )
    leaves = {f"leaf_{i}": np.zeros(8, np.float32) for i in range(LEAVES)}
    batch = np.zeros((parallel.device_count(), 64, 8), np.uint8)
    sides = {
        "pmap": (by_pmap, parallel.replicate(leaves), parallel.shard(batch)),
        "parallel_step": (
            parallel.parallel_step(step),
            parallel.replicate_everywhere(leaves),
            parallel.shard_everywhere(batch),
        ),
    }
    times: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for name, (mapped, state, rows) in sides.items():
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(steps):
                state, metrics = mapped(state, rows)
            jax.block_until_ready(metrics)
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            sides[name] = mapped, state, rows
            if number:  # the first compiles
                times.setdefault(f"{name}_ms", []).append(1e3 * wall / steps)
                times.setdefault(f"{name}_processor_ms", []).append(1e3 * processor / steps)
    parallel.wait_for_all("measured")
    parallel.disconnect()
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


if __name__ == "__main__":
    print(json.dumps(_measure(**json.loads(sys.argv[1]))))
