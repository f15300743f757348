"""Functions of one device, mapped over many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec

from dsh_jax.parallel import processes
from dsh_jax.parallel.placement import AXIS, local_mesh, shard_everywhere, whole_mesh
from dsh_jax.typed import Array


def _mapped(function: Callable, *, in_axes: Sequence[int | None], out_axes: int | None) -> Callable:
    """Return a function mapped over the devices of all processes, its first argument donated.

    Args:
      function: of one device.
      in_axes: of each argument, as `jax.pmap` has them: 0 or None.
      out_axes: of the results.

    Returns:
      The mapped function; of several processes, its arguments are `replicate_everywhere`'s,
      `shard_everywhere`'s, or `prefetch`'s.
    """
    if processes.holds_all_devices():
        return jax.pmap(
            function, axis_name=AXIS, in_axes=in_axes, out_axes=out_axes, donate_argnums=0
        )
    spec = {None: PartitionSpec(), 0: PartitionSpec(AXIS)}

    def one_device(*arguments):
        own = [
            argument if axis is None else jax.tree.map(lambda x: x[0], argument)
            for argument, axis in zip(arguments, in_axes, strict=True)
        ]
        result = function(*own)
        return result if out_axes is None else jax.tree.map(lambda x: x[None], result)

    mapped = jax.shard_map(
        one_device,
        mesh=whole_mesh(),
        in_specs=tuple(spec[axis] for axis in in_axes),
        out_specs=spec[out_axes],
        check_vma=False,  # else a gradient would be summed over the devices before its pmean
    )
    return jax.jit(mapped, donate_argnums=0)


def parallel_step(step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], Any]:
    """Return a training step mapped over the devices.

    Args:
      step: `(state, batch) -> (state, metrics)`, which averages over the axis `AXIS` whatever must
        agree: `out_axes=None` takes one replica without looking at the others
        (`assert_replicated` does look). The state is donated.

    Returns:
      The mapped function of (state, batch with a leading device axis).
    """
    return _mapped(step, in_axes=(None, 0), out_axes=None)


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

    mapped = _mapped(steps, in_axes=(None, None, 0), out_axes=None)
    first = processes.process_index() * processes.device_count()
    own = shard_everywhere(np.arange(first, first + processes.device_count(), dtype=np.int32))
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

    Only this process's devices take part, so that processes may have unlike numbers of batches.

    Args:
      function: of variables, the same on each device, and one device's rows.

    Returns:
      The mapped function; its outputs carry the device axis.
    """
    if processes.holds_all_devices():
        return jax.pmap(function, axis_name=AXIS, in_axes=(None, 0))

    def one_device(variables, batch):
        result = function(variables, jax.tree.map(lambda x: x[0], batch))
        return jax.tree.map(lambda x: x[None], result)

    return jax.jit(
        jax.shard_map(
            one_device,
            mesh=local_mesh(),
            in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
            out_specs=PartitionSpec(AXIS),
            check_vma=False,
        )
    )


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
        mesh=local_mesh(devices),
        in_specs=(PartitionSpec(AXIS), PartitionSpec(), PartitionSpec(AXIS)),
        out_specs=PartitionSpec(AXIS),
        check_vma=False,
    )
    is_cpu = jax.default_backend() == "cpu"
    options = {"xla_cpu_prefer_vector_width": 512} if is_cpu else None
    return jax.jit(mapped, compiler_options=options)


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
