"""Our evaluator and search beside their peers: what `python -m experiments.bench retrieval` runs.

The same codes on the same cores, in turns; results are checked before they are timed. A whole
ranking is evaluated to AP, P@100 ... P@1000, and precision and recall of each radius, by:

- ours: `distance_counts` and `metrics`, from packed codes and multi-hot labels to numpy arrays.
- loop: what public deep-hashing repositories do; loop_stable: with ties in the database's order.
- stable: ours for that order, `ranked.average_precision_stable`, AP alone.
- numpy: the fastest counting in numpy that we know, see `numpy_counts`, and our `metrics`.
- faiss: the ranking alone, no metric, by IndexBinaryFlat with k = all items.

The k nearest are searched for by IndexBinaryFlat too. Its codes are padded to its fast widths, and
the better of its heap and its counting counts. Of a whole ranking we pay for arranging the
database, peers do not; searches are those of an index that stands already, on both sides. Peers
evaluate as many queries as take about 5 s in all rounds.

With --codes the codes are those of a run's `eval/<step>.npz`.
"""

import functools
import json
import statistics
import subprocess
import sys
import timeit

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from etils import epath

from dsh_jax import metrics, retrieval
from dsh_jax.evaluation import code_files
from dsh_jax.metrics import ranked
from experiments.bench.processor import vectors

try:
    import faiss
except ImportError:
    faiss = None

ABOUT_NS = {"loop": 80, "loop_stable": 120, "stable": 15, "numpy": 5}
ABOUT_NS |= {"faiss heap": 160, "faiss counting": 8}
RANKS = np.arange(100, 1001, 100)
SHAPES = [(1000, 54_000, 10), (10_000, 50_000, 10), (1000, 1_000_000, 10), (2000, 193_734, 21)]
MAP, SEARCH = "{:,} × {:,}, {} classes, {} bits", "{:,} × {:,}, k = {:,}"
MAPS = [(*shape, bits) for shape in SHAPES for bits in (12, 24, 32, 48, 64, 128)]
SEARCHES = [(1000, items, k) for items in (1_000_000, 100_000) for k in (10, 100, 1000, 5000)]
SEARCHES += [(queries, items, 20) for queries in (1, 16) for items in (1_000_000, 100_000)]
FULL = [*MAPS, (10_000, 1_000_000, 10, 16)], SEARCHES, (10_000, 1_000_000, 10, 64)
QUICK = [(50, 3000, 10, 12), (20, 5000, 21, 64)], [(20, 20_000, 10)], (50, 20_000, 10, 64)


def clustered_codes(queries, items, classes, bits):
    """Draw rows of a class, around its random code: each bit is flipped with probability 0.2.

    With more than 10 classes, a row has each other label with probability 0.05. Returns
    (query_QxW, query_label_QxC, database_RxW, database_label_RxC), uint8.
    """
    rng = np.random.default_rng(0)
    centre_CxK = rng.random((classes, bits)) < 0.5
    codes, labels = [], []
    for start in range(0, queries + items, 4096):
        rows = min(4096, queries + items - start)
        class_N = rng.integers(0, classes, rows)
        flip_NxK = rng.random((rows, bits), np.float32) < 0.2
        codes.append(np.packbits(centre_CxK[class_N] ^ flip_NxK, axis=1, bitorder="little"))
        also_NxC = rng.random((rows, classes), np.float32) < 0.05 * (classes > 10)
        labels.append(np.eye(classes, dtype=np.uint8)[class_N] | also_NxC)
    code, label = np.concatenate(codes), np.concatenate(labels)
    return code[:queries], label[:queries], code[queries:], label[queries:]


def metrics_of_counts(total_QxD, relevant_QxD):
    """Return (total_QxD, relevant_QxD, ap_Q, precision_kxQ, (precision_D, recall_D))."""
    counts = jnp.asarray(total_QxD), jnp.asarray(relevant_QxD)
    ap_Q = metrics.average_precision(*counts)
    precision_kxQ = metrics.precision_at(*counts, RANKS)
    found = ap_Q, precision_kxQ, metrics.precision_recall_by_radius(*counts)
    return total_QxD, relevant_QxD, *jax.device_get(found)


def loop_evaluation(query_QxK, query_label_QxC, database_RxK, database_label_RxC, kind=None):
    """Sort the database for each query, codes of -1 and 1, by numpy's sort of a kind.

    Returns ap_Q, precision_Qxk and for each radius the items and relevant items within it,
    precision and recall, QxD.
    """
    items, bits = database_RxK.shape
    results = []
    for code_K, label_C in zip(query_QxK, query_label_QxC, strict=True):
        distance_R = 0.5 * (bits - database_RxK @ code_K)
        order_R = np.argsort(distance_R, kind=kind)
        relevant_R = (database_label_RxC @ label_C > 0)[order_R]
        hits_R = np.cumsum(relevant_R)
        rank_P = np.flatnonzero(relevant_R) + 1
        ap = np.sum(np.arange(1, len(rank_P) + 1) / rank_P) / max(len(rank_P), 1)
        precision_k = hits_R[np.minimum(RANKS, items) - 1] / RANKS
        ball_D = np.searchsorted(distance_R, np.arange(bits + 1), side="right", sorter=order_R)
        hits_D = np.where(ball_D > 0, hits_R[ball_D - 1], 0)
        curve = hits_D / np.maximum(ball_D, 1), hits_D / max(len(rank_P), 1)
        results.append((ap, precision_k, ball_D, hits_D, *curve))
    return [np.stack(column) for column in zip(*results, strict=True)]


def numpy_counts(query_VxQ, label_Q, database_VxR, label_R, bits):
    """Count by XOR, `bitwise_count` and `bincount` of 2 distance + relevant, in blocks of a cache.

    The fastest of numpy's ways: a radix argsort takes 1.5 to 3 times as long, comparisons with each
    distance take longer from 24 bits on. Codes are from `numpy_words`, labels the bits of a word.
    """
    kind = np.uint8 if bits < 128 else np.uint16
    count_QxE = np.zeros((len(label_Q), 2 * (bits + 1)), np.int64)
    for start in range(0, len(label_R), 65_536):
        block = slice(start, start + 65_536)
        for q, count_E in enumerate(count_QxE):
            xor_VxN = database_VxR[:, block] ^ query_VxQ[:, q, None]
            bin_N = np.add.reduce(np.bitwise_count(xor_VxN), dtype=kind)
            bin_N <<= 1
            bin_N |= (label_R[block] & label_Q[q]) != 0
            count_E += np.bincount(bin_N, minlength=len(count_E))
    return count_QxE[:, 0::2] + count_QxE[:, 1::2], count_QxE[:, 1::2]


def numpy_words(byte_NxW):
    """Join bytes into the smallest word that holds a row, or several of 64 bits: word_VxN."""
    rows, width = byte_NxW.shape
    size = min(8, 1 << (width - 1).bit_length())
    byte_NxP = np.pad(byte_NxW, ((0, 0), (0, -width % size)))
    return np.ascontiguousarray(byte_NxP.view(f"<u{size}").reshape(rows, -1).T)


def faiss_searches(query_QxW, database_RxW, k):
    """Return FAISS's two ways to search, functions of a number of queries; none without FAISS."""
    if faiss is None:
        return {}
    faiss.omp_set_num_threads(cores := jax.local_device_count())
    width = max(4, 1 << (query_QxW.shape[1] - 1).bit_length())
    padding = (0, 0), (0, width - query_QxW.shape[1])
    query_QxP = np.pad(query_QxW, padding)
    index = faiss.IndexBinaryFlat(8 * width)
    index.add(np.pad(database_RxW, padding))
    # New memory costs more than a ranking does: a query a core at a time, results where they were.
    index.query_batch_size = cores if k == len(database_RxW) else index.query_batch_size
    place = functools.cache(lambda n: (np.empty((n, k), np.int32), np.empty((n, k), np.int64)))

    def search(n, use_heap):
        index.use_heap = use_heap
        distance, number = (faiss.swig_ptr(array) for array in place(n))
        index.search_c(n, faiss.swig_ptr(query_QxP), k, distance, number)
        return place(n)

    return {"faiss heap": lambda n: search(n, True), "faiss counting": lambda n: search(n, False)}


def measure(queries, items, ours, peers, check, rounds, peer_queries):
    """Check the peers, functions of a number of queries, against ours and time all in turns.

    Returns for each side its queries, the seconds of each round, and of their median ns_per_pair
    and the ratio to ours; ours has compile_seconds too, the first call without the median.
    """
    jax.clear_caches()
    first, found = timeit.timeit(ours, number=1), ours()
    sides = {"ours": (queries, ours)}
    for name, peer in peers.items():
        pairs = min(5e9 / rounds / ABOUT_NS[name], 2**27)  # a ranking of them is 1.6 GB
        n = min(peer_queries or max(int(pairs / items), 1), queries)
        check(name, peer(n), found)
        sides[name] = n, functools.partial(peer, n)
    seconds = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (_, side) in sides.items():
            seconds[name].append(seconds_of(side))
    row = {}
    for name, (n, _) in sides.items():
        ns = 1e9 * statistics.median(seconds[name]) / (n * items)
        ratio = ns / row["ours"]["ns_per_pair"] if row else 1.0
        row[name] = {"queries": n, "seconds": seconds[name], "ns_per_pair": ns, "ratio": ratio}
    row["ours"]["compile_seconds"] = first - statistics.median(seconds["ours"])
    if ways := [row.pop(name) | {"way": name} for name in sides if "faiss" in name]:
        row["faiss"] = min(ways, key=lambda way: way["ns_per_pair"])
    return row


def seconds_of(side):
    """Return the seconds of a call; of a short one, the mean of as many as take a tenth of one."""
    once = timeit.timeit(side, number=1)
    number = int(0.1 / once)
    return timeit.timeit(side, number=number) / number if number > 1 else once


def bench_map(queries, items, classes, bits, *, rounds=1, loop_queries=0):
    """Measure the evaluation of a whole ranking of drawn codes, see `measure`."""
    data = clustered_codes(queries, items, classes, bits)
    return bench_codes(data, bits, rounds=rounds, loop_queries=loop_queries)


def bench_codes(data, bits, *, rounds=1, loop_queries=0):
    """Measure the evaluation of a whole ranking, see `measure`."""
    queries, items = len(data[0]), len(data[2])
    code, label = data[0::2], data[1::2]
    bit = [np.unpackbits(x, axis=1, count=bits, bitorder="little") for x in code]
    sign, present = [2 * np.float32(x) - 1 for x in bit], [np.float32(x) for x in label]
    word = [numpy_words(x) for x in code]
    (set_Q,), (set_R,) = (numpy_words(np.packbits(x, axis=1, bitorder="little")) for x in label)

    def ours():
        return metrics_of_counts(*retrieval.distance_counts(*data, bits=bits))

    def loop(n, kind=None):
        return loop_evaluation(sign[0][:n], present[0][:n], sign[1], present[1], kind)

    def count(n):
        return metrics_of_counts(*numpy_counts(word[0][:, :n], set_Q[:n], word[1], set_R, bits))

    def stable(n):
        return [ranked.average_precision_stable(data[0][:n], data[1][:n], *data[2:])]

    peers = {"loop": loop, "loop_stable": lambda n: loop(n, "stable")}
    peers |= {"stable": stable, "numpy": count}
    peers |= faiss_searches(*code, items)
    return measure(queries, items, ours, peers, check_evaluation, rounds, loop_queries)


def check_evaluation(name, peer, ours):
    """Raise unless a peer's evaluation of the first queries agrees with ours."""
    total_QxD, relevant_QxD = (count[: len(peer[0])] for count in ours[:2])
    if name == "numpy":
        np.testing.assert_array_equal(peer[:2], (total_QxD, relevant_QxD))
    elif "faiss" in name:
        for distance_R, total_D in zip(peer[0], total_QxD, strict=True):
            np.testing.assert_array_equal(np.bincount(distance_R, minlength=len(total_D)), total_D)
    else:
        if name != "stable":
            np.testing.assert_array_equal(peer[2:4], np.cumsum((total_QxD, relevant_QxD), axis=2))
        lowest_Q = metrics.average_precision_pessimistic(total_QxD, relevant_QxD) - 1e-6  # float32
        highest_Q = metrics.average_precision_optimistic(total_QxD, relevant_QxD) + 1e-6
        np.testing.assert_array_less((lowest_Q, peer[0]), (peer[0], highest_Q))


def bench_search(queries, items, k, *, rounds=1):
    """Measure the search for the k nearest at 64 bits, see `measure`."""
    query_QxW, _, database_RxW, _ = clustered_codes(queries, items, 10, 64)
    ours = functools.partial(retrieval.Index(database_RxW, 64).search, query_QxW, k)
    distance_Qxk, index_Qxk = ours()
    distance_8xR = np.bitwise_count(query_QxW[:8, None] ^ database_RxW).sum(axis=2, dtype=np.uint8)
    order_8xk = np.argsort(distance_8xR, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(index_Qxk[:8], order_8xk)
    np.testing.assert_array_equal(distance_Qxk[:8], np.take_along_axis(distance_8xR, order_8xk, 1))
    peers = faiss_searches(query_QxW, database_RxW, k)
    return measure(queries, items, ours, peers, check_search, rounds, queries)


def check_search(name, peer, ours):
    """Raise unless FAISS found the same, up to the order and the choice of ties."""
    distance_Qxk, index_Qxk = ours
    np.testing.assert_array_equal(peer[0], distance_Qxk, err_msg=name)
    # In our order; which of those that tie with the last are found is FAISS's choice.
    theirs_Qxk = np.take_along_axis(peer[1], np.lexsort((peer[1], peer[0])), axis=1)
    is_sure_Qxk = distance_Qxk < distance_Qxk[:, -1:]
    np.testing.assert_array_equal(theirs_Qxk[is_sure_Qxk], index_Qxk[is_sure_Qxk], err_msg=name)


def peak_memory(queries, items, classes, bits):
    """Return the MB that an evaluation takes beyond an idle JAX that holds codes and labels."""
    data = clustered_codes(queries, items, classes, bits)
    jnp.zeros(1).block_until_ready()

    def peak():
        return int(epath.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

    epath.Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
    before = peak()
    metrics_of_counts(*retrieval.distance_counts(*data, bits=bits))
    return (peak() - before) * 1024 / 1e6


def run_grid(grid, bench, cells, name, rounds):
    """Measure each cell and print it; return {cell's name: result of `measure`}."""

    def show(title, columns):
        print(f"{title:<38}" + "".join(f"{text:>24}" for text in columns), flush=True)

    rows = {}
    for i, cell in enumerate(cells, start=1):
        title = name.format(*cell)
        logging.info("%s, %d of %d: %s", grid, i, len(cells), title)
        rows[title] = row = bench(*cell, rounds=rounds)
        ours, *peers = row.values()
        if i == 1:
            show(grid, ["compile s", *row])
        text = [f"{x['ns_per_pair']:.3g} {x['ratio']:,.1f}× ({x['queries']:,})" for x in peers]
        show(title, [f"{ours['compile_seconds']:.1f}", f"{ours['ns_per_pair']:.3g}", *text])
    mean = statistics.geometric_mean
    means = [mean(row[side]["ratio"] for row in rows.values()) for side in [*row][1:]]
    show("geometric mean", ["", "", *(f"{x:,.1f}×" for x in means)])
    return rows


def run(only, quick, rounds, loop_queries, file, codes=None):
    """Print nanoseconds a pair, how many times ours that is, and on how many queries."""
    logging.set_verbosity(logging.INFO)
    jax.config.update("jax_enable_compilation_cache", False)
    if faiss is None:
        logging.warning("FAISS is not installed: no column for it; pip install -e .[search]")
    maps, searches, memory = QUICK if quick else FULL
    result = {"cores": jax.local_device_count(), "vectors": vectors(), "rounds": rounds}
    result |= {"numpy": np.__version__, "jax": jax.__version__}
    result |= {"faiss": faiss and faiss.__version__}
    print(json.dumps(result), "Nanoseconds a pair, times ours (queries timed).", sep="\n")
    bench = functools.partial(bench_map, loop_queries=loop_queries)
    if codes:
        given = code_files.load(codes)
        data = given.query_QxW, given.query_label_QxC, given.database_RxW, given.database_label_RxC
        shape = len(data[0]), len(data[2]), data[1].shape[1], given.bits
        ours = functools.partial(bench_codes, data, given.bits, loop_queries=loop_queries)
        cell = lambda *_, rounds: ours(rounds=rounds)  # noqa: E731
        result["codes"] = run_grid("codes", cell, [shape], MAP, rounds)
        only = "codes"
    if only in ("maps", "all"):
        result["maps"] = run_grid("maps", bench, maps, MAP, rounds)
    if only in ("search", "all"):
        result["search"] = run_grid("search", bench_search, searches, SEARCH, rounds)
    if only in ("memory", "all"):
        code = f"from experiments.bench import retrieval as b; print(b.peak_memory(*{memory}))"
        done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
        result["memory_megabytes"] = float(done.stdout)
        print(f"peak memory of {MAP.format(*memory)}: {float(done.stdout):,.0f} MB")
    if file:
        epath.Path(file).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    run(**json.loads(sys.argv[1]))
