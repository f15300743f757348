"""Codes of a memory map, more than a device holds at once, beside few, for `experiments.bench`."""

import concurrent.futures
import contextlib
import functools
import tempfile
import time

import jax.numpy as jnp
import numpy as np
from etils import epath

from dsh_jax import retrieval

SMALL, BITS, CLASSES = 1_000_000, 64, 10
BLOCK = 1 << 22  # rows written at a time


def bench_sizes(items: int, queries: int) -> dict[str, dict[str, float]]:
    """Return nanoseconds a pair and MB of memory, of a search and of counts, at two sizes.

    MB are what the process takes beyond an idle JAX and the map's own pages, which the system may
    drop at any time. The first call, which compiles, is not timed.

    Args:
      items: of the large map; the small one has 1,000,000.
      queries: of a call.
    """
    rng = np.random.default_rng(0)
    query_QxW = rng.integers(0, 256, (queries, BITS // 8), np.uint8)
    query_label_QxC = np.eye(CLASSES, dtype=bool)[rng.integers(0, CLASSES, queries)]
    jnp.zeros(1).block_until_ready()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (SMALL, items):
            write(epath.Path(folder) / str(size), size, rng)
            index = retrieval.Index.load(epath.Path(folder) / str(size))
            for what, call in {
                "search, k = 100": functools.partial(index.search, query_QxW, 100),
                "counts": functools.partial(index.counts, query_QxW, query_label_QxC),
            }.items():
                with peak_memory() as peak:
                    call()
                    started = time.perf_counter()
                    call()
                    seconds = time.perf_counter() - started
                name = f"{what}, {size:,} codes"
                found[name] = {"ns_per_pair": 1e9 * seconds / (queries * size), "mb": peak[0]}
    return found


def write(folder: epath.Path, items: int, rng: np.random.Generator) -> None:
    """Write an index of random codes of random classes, block by block."""
    few_WxB = np.zeros((1, BITS // 8), np.uint8)
    retrieval.Index(few_WxB, BITS, np.eye(CLASSES, dtype=bool)[:1]).save(folder)
    about = (folder / "index.json").read_text().replace('"rows": 1', f'"rows": {items}')
    (folder / "index.json").write_text(about)
    for name, high in (("codes", 256), ("labels", CLASSES)):
        like = np.load(folder / f"{name}.npy")
        shape = (items, *like.shape[1:])
        file = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", like.dtype, shape)
        for start in range(0, items, BLOCK):
            part = file[start : start + BLOCK]
            part[:] = rng.integers(0, high, part.shape, like.dtype)
        file.flush()


@contextlib.contextmanager
def peak_memory():
    """Give a list that holds the most MB of anonymous memory taken within, once it is left."""

    def held():
        return int(epath.Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])

    before, peak, done = held(), [0.0], False

    def watch():
        most = before
        while not done:
            most = max(most, held())
            time.sleep(0.01)
        return (most - before) * 1024 / 1e6

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        watched = pool.submit(watch)
        try:
            yield peak
        finally:
            done = True
            peak[0] = watched.result()
