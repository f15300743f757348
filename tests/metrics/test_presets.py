"""Presets against plain statements of each convention, and the page docs/metrics.md."""

import math
import re

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from dsh_jax import metrics
from dsh_jax.codes import pack_bits
from dsh_jax.metrics import presets, ranked
from dsh_jax.retrieval import distance_counts

pytestmark = pytest.mark.optimized

BITS = 10

# The data: ties abound, some queries have no hit near, some none at all, the last one among them.


def case(seed):
    """12 queries and 40 database items of 4 rare classes, packed codes and multi-hot labels."""
    rng = np.random.default_rng(seed)
    bit = rng.integers(0, 2, (52, BITS)) & rng.integers(0, 2, (52, BITS))
    label = (rng.random((52, 4)) < 0.2).astype(np.float32)
    label[11] = 0
    code = np.asarray(pack_bits(bit))
    return code[:12], label[:12], code[12:], label[12:]


def rankings(query, query_label, database, database_label):
    """For each query, the distances and the relevance of the items, in stable order."""
    for code, label in zip(query, query_label, strict=True):
        items = sorted(
            (int(np.bitwise_count(code ^ other).sum()), row) for row, other in enumerate(database)
        )
        relevant = [bool((label * database_label[row]).any()) for _, row in items]
        yield [distance for distance, _ in items], relevant


def hits_so_far(relevant):
    return [sum(relevant[: i + 1]) for i in range(len(relevant))]


def precisions_at_hits(relevant):
    hits = hits_so_far(relevant)
    return [hits[i] / (i + 1) for i in range(len(relevant)) if relevant[i]]


# The conventions, each stated on its own.


def deephash_pytorch(arrays, k=-1):
    total, queries = 0.0, 0
    for _, relevant in rankings(*arrays):
        queries += 1
        # A Python slice: -1 is all but the last item.
        found = precisions_at_hits(relevant[0:k])
        if found:
            total += sum(found) / len(found)
    return total / queries


def hashnet(arrays, k=None):
    kept = []
    for _, relevant in rankings(*arrays):
        found = precisions_at_hits(relevant[:k])
        if found:
            kept.append(sum(found) / len(found))
    return sum(kept) / len(kept)


def orthohash(arrays, k=None):
    kept = []
    for _, relevant in rankings(*arrays):
        found = precisions_at_hits(relevant[:k])
        kept.append(sum(found) / len(found) if found else 0.0)
    return sum(kept) / len(kept)


def csq(arrays, k=None):
    values = []
    for (_, relevant), label in zip(rankings(*arrays), arrays[1], strict=True):
        if label.sum() == 0:
            continue
        found = precisions_at_hits(relevant[:k])
        values.append(sum(found) / len(found) if found else 0)
    return sum(values) / len(values)


def area_rp(arrays):
    pairs = [pair for one in rankings(*arrays) for pair in zip(*one, strict=True)]
    good = sum(relevant for _, relevant in pairs)
    recall, precision = [], []
    for radius in range(max(distance for distance, _ in pairs)):  # not the largest itself
        inside = [relevant for distance, relevant in pairs if distance <= radius]
        recall.append(sum(inside) / good)
        precision.append(sum(inside) / len(inside) if inside else math.nan)
    if recall[0] != 0:
        recall, precision = [0, *recall], [precision[0], *precision]
    points = {}
    for x, y in zip(recall, precision, strict=True):
        points.setdefault(x, y)
    x, y = zip(*sorted(points.items()), strict=True)
    y = list(y)
    for i in reversed(range(len(y))):
        y[i] = y[i + 1] if math.isnan(y[i]) else y[i]
    return sum((x[i + 1] - x[i]) * (y[i + 1] + y[i]) / 2 for i in range(len(x) - 1))


def yang_precision(arrays, k=1000):
    ap = np.zeros(len(arrays[0]))
    for q, (_, relevant) in enumerate(rankings(*arrays)):
        mark = np.array(relevant[:k], float)
        precision = np.cumsum(mark) / np.arange(1, k + 1)
        if mark.sum() > 0:
            ap[q] = (precision * mark).sum() / mark.sum()
    return ap.mean()


def talr(arrays):
    ap = []
    for distance, relevant in rankings(*arrays):
        value, nearer, hits = 0.0, 0, 0
        for d in range(BITS + 1):
            tie = [r for e, r in zip(distance, relevant, strict=True) if e == d]
            n, p = len(tie), sum(tie)
            # An item of the tie is relevant with probability p/n; of the j before it, a share are.
            share = (p - 1) / (n - 1) if n > 1 else 0.0
            for j in range(n):
                value += (p / n) * (hits + 1 + j * share) / (nearer + 1 + j)
            nearer, hits = nearer + n, hits + p
        ap.append(value / hits if hits else None)
    while ap[-1] is None:
        ap.pop()
    return sum(value or 0.0 for value in ap) / len(ap)


def talr_cutoff(arrays, k=None):
    total = 0.0
    for _, relevant in rankings(*arrays):
        relevant = relevant[:k]
        recall = [hits / max(sum(relevant), 1) for hits in hits_so_far(relevant)]
        for i in range(1, len(relevant)):
            total += (recall[i] - recall[i - 1]) * hits_so_far(relevant)[i] / (i + 1)
    return total / len(arrays[0])


def printed(arrays):
    total = 0.0
    for _, relevant in rankings(*arrays):
        inverse = [1 / precision for precision in precisions_at_hits(relevant)]
        total += sum(inverse) / max(sum(relevant), 1)
    return total / len(arrays[0])


WHOLE = "talr", "printed", "area_rp"  # without a cut


def depths(name):
    if name in WHOLE:
        return [{}]
    whole = [] if name == "yang_precision" else [{}]
    clipped = [{"k": 100}] if name in ("deephash_pytorch", "talr_cutoff") else []
    return [{"k": 1}, {"k": 4}, {"k": 40}, *whole, *clipped]


@pytest.mark.parametrize("name", presets.PRESETS)
def test_preset_is_the_convention(name, monkeypatch):
    monkeypatch.setattr(presets, "QUERY_BLOCK", 5)  # several blocks
    convention = globals()[name]
    for seed in range(4):
        arrays = case(seed)
        for depth in depths(name):
            found = presets.PRESETS[name](*arrays, bits=BITS, **depth)
            assert isinstance(found, float)
            assert found == pytest.approx(convention(arrays, **depth), rel=1e-5)


def test_presets_differ_on_the_same_codes():
    arrays = case(0)
    values = {
        name: preset(*arrays, bits=BITS, **({} if name in WHOLE else {"k": 4}))
        for name, preset in presets.PRESETS.items()
    }
    values["ours"] = float(metrics.average_precision(*distance_counts(*arrays, bits=BITS)).mean())
    # At one k these three agree: they differ in the default k and in the order of ties.
    assert values["orthohash"] == values["yang_precision"] == values["deephash_pytorch"]
    assert len({round(value, 6) for value in values.values()}) == len(values) - 2


def test_a_query_without_a_label_is_left_out_by_csq_alone():
    query, database = np.zeros((2, 1), np.uint8), np.array([[0], [1]], np.uint8)
    arrays = query, np.array([[1], [0]]), database, np.ones((2, 1))
    assert presets.csq(*arrays, bits=8) == 1
    assert presets.orthohash(*arrays, bits=8) == 0.5
    assert math.isnan(presets.csq(query[1:], np.zeros((1, 1)), *arrays[2:], bits=8))


def test_an_area_without_radii_or_relevant_pairs_is_nan():
    code, label = np.zeros((2, 1), np.uint8), np.ones((2, 1))
    assert math.isnan(presets.area_rp(code, label, code, label, bits=8))  # all at distance 0
    other = np.array([[1], [3]], np.uint8)
    assert math.isnan(presets.area_rp(code, label, other, 0 * label, bits=8))


def test_k_of_minus_1_drops_the_last_item():
    # Two items, the relevant one last: without it the query has no hit.
    query, database = np.zeros((1, 1), np.uint8), np.array([[0], [1]], np.uint8)
    arrays = query, np.ones((1, 1)), database, np.array([[0], [1]])
    assert presets.deephash_pytorch(*arrays, bits=8) == 0
    assert presets.deephash_pytorch(*arrays, bits=8, k=2) == 0.5


def test_the_hashnet_mean_over_no_query_is_nan():
    arrays = case(0)
    assert math.isnan(presets.hashnet(arrays[0][11:], arrays[1][11:], *arrays[2:], bits=BITS))
    assert presets.talr(arrays[0][11:], arrays[1][11:], *arrays[2:], bits=BITS) == 0


def test_a_perfect_ranking_scores_less_than_1_in_talr_with_a_cutoff():
    query, database = np.zeros((1, 1), np.uint8), np.array([[0], [1], [3]], np.uint8)
    arrays = query, np.ones((1, 1)), database, np.array([[1], [1], [0]])
    assert presets.talr_cutoff(*arrays, bits=8) == 0.5
    assert presets.talr(*arrays, bits=8) == 1


def test_the_printed_formula_exceeds_1():
    for seed in range(4):
        assert presets.printed(*case(seed), bits=BITS) > 1


@pytest.mark.parametrize("name", presets.PRESETS)
def test_the_codes_must_have_the_bits(name):
    with pytest.raises(ValueError, match="query has 2 bytes a row, but bits=40 needs 5"):
        presets.PRESETS[name](*case(0), bits=40)


# The page.

PAGE = (epath.Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def table_below(heading):
    """Rows of the table of a section, as lists of cells."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def page_arrays():
    rows = table_below("One ranking")
    bit = np.array([[int(b) for b in code.strip("`")] for _, code, *_ in rows])
    for (_, _, a, b, _), ones in zip(rows, bit.sum(axis=1), strict=True):
        assert (int(a), int(b)) == (ones, 6 - ones)
    classes = ["red", "blue"]
    label = np.array([[colour == name for name in classes] for *_, colour in rows])
    query = np.array([[0] * 6, [1] * 6])
    return pack_bits(query), np.eye(2), pack_bits(bit), label


def values_of(call, queries):
    """The values of a call of the page for some of its queries, 0 for A and 1 for B."""
    query, query_label, database, database_label = page_arrays()
    arrays = query[queries], query_label[queries], database, database_label
    counts = distance_counts(*arrays, bits=6)
    names = {
        **vars(metrics),
        **vars(ranked),
        **vars(presets),
        "arrays": arrays,
        "counts": counts,
        "ranking": ranked.ranked_relevance(*arrays, 10),
        "relevant": counts[1].sum(axis=1),
    }
    return eval(call.strip("`"), names)


@pytest.mark.parametrize("row", table_below("What each number makes of it"), ids=lambda row: row[0])
def test_every_value_of_the_page_is_what_the_code_gives(row):
    _, *cells, call = row
    for queries, cell in zip(([0], [1], [0, 1]), cells, strict=True):
        value = float(jnp.nanmean(jnp.asarray(values_of(call, np.array(queries)))))
        assert cell == ("skipped" if math.isnan(value) else f"{value:.3f}")


def test_the_curve_of_the_page_is_what_the_code_gives():
    rows = table_below("The curve over radii")
    precision, recall = values_of("precision_recall_by_radius(*counts)", np.array([0, 1]))
    wanted = [[str(d), f"{precision[d]:.3f}", f"{recall[d]:.3f}"] for d in range(7)]
    assert rows == wanted


def test_the_page_names_every_preset():
    for name in presets.PRESETS:
        assert re.search(rf"`{name}", PAGE), name
