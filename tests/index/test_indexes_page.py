"""Every block of docs/indexes.md that can run here gives the distances of our search."""

import re

import numpy as np
import pytest
from commands import ROOT

from dsh_jax import retrieval

PAGE = (ROOT / "docs" / "indexes.md").read_text()
BLOCKS = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "10" in block]


def imported(block):
    return re.findall(r"^(?:import|from) (\w+)", block, re.M)


@pytest.mark.filterwarnings("ignore")  # of what these libraries import
@pytest.mark.parametrize("block", BLOCKS, ids=[(*imported(b), "ours")[0] for b in BLOCKS])
def test_a_block_finds_the_same_distances(block, tmp_path):
    for name in imported(block):
        pytest.importorskip(name, reason=f"{name} is not installed")
    draw = np.random.default_rng(0)
    packed_NxW = draw.integers(0, 256, (500, 8), dtype=np.uint8)
    query_QxW = packed_NxW[:3] ^ draw.integers(0, 2, (3, 8), dtype=np.uint8)
    names = {"np": np, "retrieval": retrieval, "packed_NxW": packed_NxW, "query_QxW": query_QxW}
    names["folder"] = str(tmp_path)
    exec(block, names)
    wanted, _ = retrieval.search(query_QxW, packed_NxW, 10)
    np.testing.assert_array_equal(names["distance_Qxk"], wanted)


def test_the_page_has_a_block_for_each_index():
    assert len(BLOCKS) == 6
