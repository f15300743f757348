"""What XLA makes of a function for an H100, on a machine that has none.

    pip install --no-deps --target cuda13 jax-cuda13-pjrt==0.10.2 jax-cuda13-plugin==0.10.2 \
      nvidia-cuda-nvcc nvidia-cuda-nvdisasm
    CUDA13=cuda13 python -m pytest -m slow -k h100

The plug-in holds the whole compiler; a description of the device takes its place. Nothing runs, and
what the compiler would try out on a device stays at its first guess. `ptxas` says how many
registers a kernel takes, `nvdisasm` which instructions it is made of. One private name of JAX is
used, `jax._src.xla_bridge`.
"""

import collections
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from unittest import mock

import pytest

FOLDER = os.environ.get("CUDA13", "")
PATH = os.environ.get("PYTHONPATH", ""), str(pathlib.Path(__file__).parent)  # as pytest has it
DEVICE = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 device_memory_size: 84942979072
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""

needs_compiler = pytest.mark.skipif(
    not FOLDER, reason="CUDA13 names no folder with a compiler, see tests/support/h100.py"
)


def compiled(function: str, *shapes: tuple, **options) -> dict:
    """Compile a function in a process of its own.

    Args:
      function: `module:name`. Without shapes it is called with the options, and returns what is to
        be compiled and a tree of the shapes of each of its arguments.
      shapes: (shape, dtype name) of its arguments.
      options: of the function, by name.

    Returns:
      `custom_calls`, `others` (loops, sorts, copies, … by name), `trips` (of the loops whose number
      is known), `copies` (by type and shape), `largest_sort`, `float64`,
      `arguments` and `temporary` bytes, and `kernels`: of each Pallas kernel its `registers`,
      `spills` in bytes, `popc` instructions of its text and, where there is a disassembler, the
      `instructions` of its machine code by name.
    """
    request = json.dumps([function, shapes, options])
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.h100", request],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(PATH)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def main(request: str) -> None:
    """Compile what a request says, and print its facts."""
    function, shapes, options = json.loads(request)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XLA_FLAGS"] = f"--xla_gpu_autotune_level=0 --xla_dump_to={folder}"
        facts = _compile(function, shapes, options)
        facts["kernels"] = [_kernel(path) for path in sorted(pathlib.Path(folder).glob("*.ptx"))]
    facts["kernels"] = [kernel for kernel in facts["kernels"] if kernel]
    print(json.dumps(facts))


def _compile(function, shapes, options):
    import importlib

    import jax
    import numpy as np
    from jax._src import xla_bridge
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    library = pathlib.Path(FOLDER) / "jax_plugins/xla_cuda13/xla_cuda_plugin.so"
    xla_bridge.register_plugin("cuda", priority=-10, library_path=str(library), options={})
    topology = topologies.get_topology_desc(
        platform="cuda", topology_name="h100", topology="1x1x1", target_config=DEVICE
    )
    mesh = Mesh(np.array([topology.devices[0]]), ("batch",))
    where = NamedSharding(mesh, PartitionSpec())
    module, name = function.split(":")
    found = getattr(importlib.import_module(module), name)
    if shapes:
        program = functools.partial(found, **options)
        arguments = [jax.ShapeDtypeStruct(tuple(s), t) for s, t in shapes]
    else:
        program, arguments = found(**options)
        # Training averages over the devices' axis, here of one.
        program = jax.shard_map(
            program, mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec(), check_vma=False
        )
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), arguments
    )
    # Layers that have a form of their own for a CPU take the other.
    with mock.patch("jax.default_backend", return_value="gpu"):
        lowered = jax.jit(program, donate_argnums=() if shapes else 0).lower(*arguments)
    done = lowered.compile()
    text, memory = done.as_text(), done.memory_analysis()
    sorts = re.findall(r"= \(?s32\[([\d,]+)\][^=]* sort\(", text)
    operations = re.findall(r"= [^=]*? (while|sort|scatter|copy|all-reduce|convolution)[(]", text)
    return {
        "custom_calls": collections.Counter(re.findall(r'custom_call_target="([^"]+)"', text)),
        "others": collections.Counter(operations),
        "trips": [int(n) for n in re.findall(r'"known_trip_count":\{"n":"(\d+)"\}', text)],
        "copies": collections.Counter(re.findall(r"= (\w+\[[\d,]*\])\S* copy\(", text)),
        "largest_sort": max((int(shape.split(",")[-1]) for shape in sorts), default=0),
        "float64": "f64[" in text,
        "arguments": memory.argument_size_in_bytes,
        "temporary": memory.temp_size_in_bytes,
    }


def _kernel(path):
    """Registers and spills of a Pallas kernel by ptxas; None for XLA's own kernels."""
    text = path.read_text()
    if ".entry _kernel" not in text:
        return None
    facts = {"popc": len(re.findall(r"popc\.b32", text))}
    if (ptxas := _tool("ptxas")) is None:
        return facts
    code = path.with_suffix(".cubin")
    said = _said(ptxas, "-v", "-arch=sm_90a", path, "-o", code).stderr
    facts["registers"] = int(re.findall(r"Used (\d+) registers", said)[-1])
    facts["spills"] = sum(int(n) for n in re.findall(r"(\d+) bytes spill", said))
    if (nvdisasm := _tool("nvdisasm")) is not None:
        listed = re.findall(r"\*/\s+(?:@!?\w+\s+)?([A-Z]\w+)", _said(nvdisasm, code).stdout)
        facts["instructions"] = collections.Counter(listed)
    return facts


def _tool(name):
    found = next(pathlib.Path(FOLDER).rglob(f"bin/{name}"), None)
    if found is not None:
        found.chmod(0o755)
    return found


def _said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True)


if __name__ == "__main__":
    main(sys.argv[1])
