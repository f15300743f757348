"""Where arrays lie: on every device, or a part on each, of this process or of all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dsh_jax.parallel import processes

AXIS = "batch"


def local_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return the devices in a row, all local ones if none are named."""
    return Mesh(np.array(devices or jax.local_devices()), (AXIS,))


def whole_mesh() -> Mesh:
    """Return the devices of all processes in a row, each process's together."""
    return Mesh(np.array(sorted(jax.devices(), key=lambda d: (d.process_index, d.id))), (AXIS,))


def _placed(tree: Any, spec: PartitionSpec, devices: Sequence[jax.Device] | None = None) -> Any:
    """Return arrays on devices of this process; parts of arrays of all processes stay in place."""
    sharding = NamedSharding(local_mesh(devices), spec)

    def placed(x):
        if not isinstance(x, jax.Array) or x.is_fully_addressable:
            return x
        return _joined(x, x.shape, sharding)  # replicated: what this process holds is the whole

    return jax.device_put(jax.tree.map(placed, tree), sharding)


def _joined(x: jax.Array, shape: tuple[int, ...], sharding: NamedSharding) -> jax.Array:
    """Return the parts that this process holds as an array of another placement, none moved."""
    parts = [part.data for part in x.addressable_shards]
    return jax.make_array_from_single_device_arrays(shape, sharding, parts)


def replicate(tree: Any) -> Any:
    """Return arrays that every local device holds, so that no call has to move them again.

    Args:
      tree: of arrays.

    Returns:
      The same tree of arrays, for `parallel_apply`.
    """
    return _placed(tree, PartitionSpec())


def replicate_everywhere(tree: Any) -> Any:
    """Return arrays that every device of all processes holds: state and data of training steps.

    Args:
      tree: of arrays, the same in every process.

    Returns:
      The same tree of arrays, for `parallel_step` and `parallel_steps`.
    """
    local = _placed(tree, PartitionSpec())
    if processes.holds_all_devices():
        return local
    sharding = NamedSharding(whole_mesh(), PartitionSpec())
    return jax.tree.map(lambda x: _joined(x, x.shape, sharding), local)


def shard(tree: Any, devices: Sequence[jax.Device] | None = None) -> Any:
    """Place arrays with a leading device axis, so that no call has to move them again.

    Args:
      tree: of arrays.
      devices: of this process; None for all of them.

    Returns:
      The same tree of arrays, each device holding its part.
    """
    return _placed(tree, PartitionSpec(AXIS), devices)


def shard_everywhere(tree: Any) -> Any:
    """Place arrays whose leading axis is this process's devices, as parts of all processes' arrays.

    Args:
      tree: of arrays, of the same shapes in every process.

    Returns:
      The same tree of arrays, each device holding its part, for `parallel_step`.
    """
    local = shard(tree)
    if processes.holds_all_devices():
        return local
    sharding = NamedSharding(whole_mesh(), PartitionSpec(AXIS))
    devices = processes.global_device_count()
    return jax.tree.map(lambda x: _joined(x, (devices, *x.shape[1:]), sharding), local)


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
      Trees of arrays, see `shard_everywhere`.
    """
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
                if not put((shard_everywhere(batch), None)):
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
