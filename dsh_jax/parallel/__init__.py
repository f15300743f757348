"""The only room that knows how work is spread over devices and processes.

State stays unreplicated: it goes in with `in_axes=None` and comes out with `out_axes=None`, an
ordinary array that every device holds. Batches carry a leading device axis.

`jax.pmap` maps steps where this process holds all devices. Of several processes it would turn every
array into one of all processes and back at each step, so there a jit of a shard_map over all their
devices takes its place, and arrays are made of all processes once, by `replicate_everywhere`.

    processes   how many, who writes, what all of them hold
    placement   where arrays lie
    mapped      functions of one device, mapped over many
"""

from dsh_jax.parallel.mapped import (
    all_rows,
    parallel_apply,
    parallel_blocks,
    parallel_points,
    parallel_step,
    parallel_steps,
)
from dsh_jax.parallel.placement import (
    AXIS,
    assert_replicated,
    prefetch,
    replicate,
    replicate_everywhere,
    shard,
    shard_everywhere,
)
from dsh_jax.parallel.processes import (
    asked_to_stop,
    connect,
    device_count,
    device_memory,
    disconnect,
    gather,
    global_device_count,
    holds_all_devices,
    join_parts,
    machine_gpus,
    own_part,
    peak_memory,
    process_count,
    process_index,
    scans_fast,
    sum_over_processes,
    wait_for_all,
)

__all__ = [
    "AXIS",
    "all_rows",
    "asked_to_stop",
    "assert_replicated",
    "connect",
    "device_count",
    "device_memory",
    "disconnect",
    "gather",
    "global_device_count",
    "holds_all_devices",
    "join_parts",
    "machine_gpus",
    "own_part",
    "parallel_apply",
    "parallel_blocks",
    "parallel_points",
    "parallel_step",
    "parallel_steps",
    "peak_memory",
    "prefetch",
    "process_count",
    "process_index",
    "replicate",
    "replicate_everywhere",
    "scans_fast",
    "shard",
    "shard_everywhere",
    "sum_over_processes",
    "wait_for_all",
]
