"""The processes of a run and their devices: how many, who writes, what all of them hold."""

from __future__ import annotations

import os
import pathlib

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

DEVICES = pathlib.Path("/dev")


def connect(coordinator: str = "", processes: int = 0, process: int = 0) -> bool:
    """Join this process with the others of a run; call it before any other use of JAX.

    Under Slurm, a step of several tasks is recognised by its variables, and nothing need be given.

    Args:
      coordinator: `host:port` of process 0, or empty.
      processes: how many there are; 0 to recognise Slurm.
      process: number of this one.

    Returns:
      Whether there are several processes.
    """
    if coordinator:
        jax.distributed.initialize(coordinator, processes, process)
        return processes > 1
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    # Only in a step: a batch script is one process, whatever the tasks of its job.
    if tasks == 1 or "SLURM_STEP_NODELIST" not in os.environ:
        return False
    options = {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if visible and tasks == int(os.environ.get("SLURM_STEP_NUM_NODES", "0")):
        # One task a node drives all of its GPUs; JAX would take one only.
        options["local_device_ids"] = list(range(len(visible.split(","))))
    jax.distributed.initialize(initialization_timeout=120, **options)
    if tasks == int(os.environ.get("SLURM_STEP_NUM_NODES", "0")) and not visible:
        _warn_of_idle_gpus()
    return True


def _warn_of_idle_gpus() -> None:
    """Say that this process, the only one of its machine, has not taken all GPUs there."""
    idle = len(machine_gpus()) - device_count()
    if jax.default_backend() == "gpu" and idle > 0:
        logging.warning(
            "%d GPUs of this machine stand idle: CUDA_VISIBLE_DEVICES is not set, so this process "
            "has taken %d alone. Ask for them with --gpus-per-node, or set it.",
            idle,
            device_count(),
        )


def machine_gpus() -> list[str]:
    """Return the numbers of the NVIDIA GPUs that this process may use, none where there are none.

    JAX is not asked: it would take them.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [number.strip() for number in visible.split(",") if number.strip()]
    numbers = [path.name.removeprefix("nvidia") for path in DEVICES.glob("nvidia[0-9]*")]
    return sorted((number for number in numbers if number.isdigit()), key=int)


def disconnect() -> None:
    """Leave the other processes in order, so that none takes the end for a failure."""
    if process_count() > 1:
        jax.distributed.shutdown()


def device_count() -> int:
    """Return how many devices of this process share a batch."""
    return jax.local_device_count()


def global_device_count() -> int:
    """Return how many devices share a batch, those of all processes."""
    return jax.device_count()


def peak_memory() -> int:
    """Return the bytes that the fullest device of this process has held, 0 where none says."""
    counts = [device.memory_stats() or {} for device in jax.local_devices()]
    return max(count.get("peak_bytes_in_use", 0) for count in counts)


def device_memory() -> int:
    """Return the bytes of memory that a device of this process has, 0 where it does not say."""
    counts = [device.memory_stats() or {} for device in jax.local_devices()]
    return min(count.get("bytes_limit", 0) for count in counts)


def scans_fast() -> bool:
    """Return whether steps in a scan are as fast as single ones: not on a CPU, by far."""
    return jax.default_backend() != "cpu"


def process_index() -> int:
    """Return the number of this process; number 0 writes what is written once."""
    return jax.process_index()


def process_count() -> int:
    """Return how many processes train together."""
    return jax.process_count()


def own_part(rows: int) -> slice:
    """Return this process's part of so many rows; the parts are consecutive and nearly equal."""
    process, processes = process_index(), process_count()
    return slice(rows * process // processes, rows * (process + 1) // processes)


def wait_for_all(name: str) -> None:
    """Return when every process is here.

    Args:
      name: of the place.
    """
    if process_count() > 1:
        multihost_utils.sync_global_devices(name)


def asked_to_stop(step: int) -> bool:
    """Return whether some process had SIGTERM, and this is the step at which all may stop."""
    return multihost_utils.reached_preemption_sync_point(step)


def gather(value: np.ndarray) -> np.ndarray:
    """Return every process's array, of one shape everywhere, with a leading process axis."""
    if process_count() == 1:
        return value[None]
    return np.asarray(multihost_utils.process_allgather(value))


def sum_over_processes(value: np.ndarray) -> np.ndarray:
    """Return the sum of every process's array, of one shape everywhere."""
    if process_count() == 1:
        return value
    return gather(value).sum(axis=0, dtype=value.dtype)


def join_parts(value: np.ndarray, rows: int) -> np.ndarray:
    """Return the rows of all processes, of which each holds its `own_part`.

    Args:
      value: this process's rows.
      rows: of all.

    Returns:
      All rows, in their order, in every process.
    """
    processes = process_count()
    if processes == 1:
        return value
    longest = -(-rows // processes)
    padded = np.zeros((longest, *value.shape[1:]), value.dtype)
    padded[: len(value)] = value
    # Bytes: the gathering would turn float64 and int64 into 32 bits.
    parts = np.asarray(multihost_utils.process_allgather(padded.view(np.uint8)))
    parts = np.ascontiguousarray(parts).view(value.dtype).reshape(processes, *padded.shape)
    edges = [rows * p // processes for p in range(processes + 1)]
    return np.concatenate([parts[p, : edges[p + 1] - edges[p]] for p in range(processes)])


def holds_all_devices() -> bool:
    """Return whether this process is the only one."""
    return process_count() == 1
