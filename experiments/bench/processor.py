"""What vectors a processor computes with: benchmarks of a CPU mean little without it."""

import os
import re

from etils import epath

# Names in /proc/cpuinfo to what people call them.
EXTENSIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vpopcntdq": "AVX-512 VPOPCNTDQ",
    "amx_bf16": "AMX bfloat16",
}


def vectors() -> str:
    """Return the vector extensions of this processor, and XLA's limit where it has one."""
    file = epath.Path("/proc/cpuinfo")
    known = set(file.read_text().split()) if file.exists() else set()
    found = ", ".join(name for flag, name in EXTENSIONS.items() if flag in known) or "unknown"
    limit = re.search(r"--xla_cpu_max_isa=(\S+)", os.environ.get("XLA_FLAGS", ""))
    return f"{found}; XLA up to {limit[1]}" if limit else found
