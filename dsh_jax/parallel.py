"""The only file that knows how work is spread over devices and processes.

State stays unreplicated: it goes in with `in_axes=None` and comes out with `out_axes=None`, an
ordinary array that every device holds. Batches carry a leading device axis.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dsh_jax.typed import Array

AXIS = "batch"


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
    return True


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


def parallel_step(step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], Any]:
    """Return a training step mapped over the devices.

    Args:
      step: `(state, batch) -> (state, metrics)`, which averages over the axis `AXIS` whatever must
        agree: `out_axes=None` takes one replica without looking at the others
        (`assert_replicated` does look). The state is donated.

    Returns:
      The mapped function of (state, batch with a leading device axis).
    """
    return jax.pmap(
        step, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0
    )


def parallel_steps(
    step: Callable[[Any, Any], tuple[Any, Any]],
    sample: Callable[[Any, jax.Array, jax.Array], Any],
    count: int,
) -> Callable[[Any, Any], Any]:
    """Return training steps in one program, their batches taken from arrays on the devices.

    Args:
      step: see `parallel_step`; its state says at which `step` it is.
      sample: `(arrays, step, device) -> batch` of one of the devices of all processes.
      count: how many steps; above 1 in a scan, which on a CPU takes many times as long.

    Returns:
      The mapped function of (state, arrays), both the same on each device, the state donated; the
      metrics it returns have a leading axis of steps.
    """

    def one(state, arrays, device):
        return step(state, sample(arrays, state.step, device))

    def steps(state, arrays, device):
        if count == 1:
            state, metrics = one(state, arrays, device)
            return state, jax.tree.map(lambda x: x[None], metrics)
        return jax.lax.scan(lambda s, _: one(s, arrays, device), state, length=count)

    mapped = jax.pmap(
        steps, axis_name=AXIS, in_axes=(None, None, 0), out_axes=(None, None), donate_argnums=0
    )
    first = process_index() * device_count()
    own = shard(np.arange(first, first + device_count(), dtype=np.int32))
    return lambda state, arrays: mapped(state, arrays, own)


def parallel_points(step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], Any]:
    """Return a step of runs that do not share their batches, each device having its own runs.

    Args:
      step: `(states, batches) -> (states, metrics)` of one device; the states are donated.

    Returns:
      The mapped function; everything has a leading device axis.
    """
    return jax.pmap(step, axis_name=AXIS, donate_argnums=0)


def parallel_apply(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return `function(variables, batch)` mapped over the batch's leading device axis.

    Args:
      function: of variables, the same on each device, and one device's rows.

    Returns:
      The mapped function; its outputs carry the device axis.
    """
    return jax.pmap(function, axis_name=AXIS, in_axes=(None, 0))


def parallel_blocks(
    function: Callable[[Any, Any, Any], Any], devices: Sequence[jax.Device] | None = None
) -> Callable[[Any, Any, Any], Any]:
    """Return `function(carry, common, block)` mapped over the devices' blocks.

    It is what pmap is since JAX 0.8, a jit of a shard_map, written out because pmap takes no
    compiler options: wide vectors make counting on a CPU 1.3 to 1.9 times as fast.

    Args:
      function: of one device's carry, arrays that all devices share, and one device's block.
      devices: of this process; None for all of them.

    Returns:
      The mapped function; carry, block and result have a leading device axis.
    """

    def one_device(carry, common, block):
        carry, block = jax.tree.map(lambda x: x[0], (carry, block))
        return jax.tree.map(lambda x: x[None], function(carry, common, block))

    mapped = jax.shard_map(
        one_device,
        mesh=_mesh(devices),
        in_specs=(PartitionSpec(AXIS), PartitionSpec(), PartitionSpec(AXIS)),
        out_specs=PartitionSpec(AXIS),
        check_vma=False,
    )
    is_cpu = jax.default_backend() == "cpu"
    options = {"xla_cpu_prefer_vector_width": 512} if is_cpu else None
    return jax.jit(mapped, compiler_options=options)


def _mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return the devices in a row, all local ones if none are named."""
    return Mesh(np.array(devices or jax.local_devices()), (AXIS,))


def _sharding(spec: PartitionSpec, devices: Sequence[jax.Device] | None = None) -> NamedSharding:
    """Return a placement over the devices."""
    return NamedSharding(_mesh(devices), spec)


def replicate(tree: Any) -> Any:
    """Return arrays that every local device holds, so that no call has to move them again.

    Args:
      tree: of arrays.

    Returns:
      The same tree of arrays.
    """
    return jax.device_put(tree, _sharding(PartitionSpec()))


def shard(tree: Any, devices: Sequence[jax.Device] | None = None) -> Any:
    """Place arrays with a leading device axis, so that no call has to move them again.

    Args:
      tree: of arrays.
      devices: of this process; None for all of them.

    Returns:
      The same tree of arrays, each device holding its part.
    """
    return jax.device_put(tree, _sharding(PartitionSpec(AXIS), devices))


def assert_replicated(tree: Any) -> None:
    """Check that all devices hold the same bits of every array.

    Args:
      tree: arrays as `parallel_step` returns them.

    Raises:
      ValueError: naming the first array whose replicas differ, most likely for want of a pmean.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not isinstance(leaf, jax.Array):
            continue
        first, *others = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        for device, other in enumerate(others, start=1):
            if first.tobytes() != other.tobytes():
                raise ValueError(
                    f"device {device} holds other values of {jax.tree_util.keystr(path)} than "
                    "device 0: a gradient, statistic or metric was not averaged over the devices."
                )


def prefetch(batches: Iterable[Any], size: int = 2) -> Iterator[Any]:
    """Yield batches already on their devices, the next ones being moved by a thread.

    Args:
      batches: trees of numpy arrays with a leading device axis.
      size: how many wait on the devices.

    Yields:
      Trees of arrays sharded over the local devices.
    """
    sharding = _sharding(PartitionSpec(AXIS))
    ready: queue.Queue = queue.Queue(size)
    stopped = threading.Event()
    end = object()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            for batch in batches:
                if not put((jax.device_put(batch, sharding), None)):
                    return
            put((end, None))
        except BaseException as error:  # handed over: the reader raises it
            put((end, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            batch, error = ready.get()
            if error is not None:
                raise error
            if batch is end:
                return
            yield batch
    finally:
        stopped.set()
        thread.join()


def all_rows(value_BxF: Array, axis_name: str | None) -> Array:
    """Return the rows of all devices, for losses over pairs or triplets.

    Args:
      value_BxF: this device's rows.
      axis_name: the mapped axis, or None for one device.

    Returns:
      value_NxF, N = devices × B, the same on each device.
    """
    if axis_name is None:
        return value_BxF
    return jax.lax.all_gather(value_BxF, axis_name, tiled=True)
