"""A DRSCH run's codes cut to their strongest bits: against numpy, and over a whole run."""

import numpy as np
import pytest
import tiny

from dsh_jax.runs import evaluate, scalable, train
from dsh_jax.training import build, checkpoint


def test_cut_by_hand():
    # Bits 1, 0, 1, 1 and 0, 1, 1, 0; the strongest are bit 2 (3²), bit 1 (2²).
    packed = np.array([[0b1101], [0b0110]], np.uint8)
    cut, square = scalable.cut(packed, np.array([0.5, -2, 3, 1], np.float32), bits=2)
    np.testing.assert_array_equal(cut, [[0b01], [0b11]])
    np.testing.assert_array_equal(square, [9, 4])


@pytest.fixture(scope="module")
def drsch_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drsch") / "run"
    config = tiny.joint(method="drsch", data__label_fraction=1.0)
    described = build.build(config)
    assert train.train(config, folder, described=described)
    return folder, described, evaluate.evaluate_run(config, described, folder)


def ap_by_sorting(distance_R, relevant_R):
    """Expected AP over the orders of ties, from the definition, in plain numpy."""
    order = np.argsort(distance_R, kind="stable")
    total = before = seen = 0.0
    for value in np.unique(distance_R[order]):
        hits = relevant_R[distance_R == value].sum()
        size = (distance_R == value).sum()
        for place in range(1, size + 1):
            share = hits / size
            others = (place - 1) * (hits - 1) / (size - 1) if size > 1 else 0.0
            total += share * (before + 1 + others) / (seen + place)
        before, seen = before + hits, seen + size
    return total / relevant_R.sum()


def test_whole_codes_score_as_they_were_evaluated(drsch_run):
    folder, described, evaluation = drsch_run
    table = scalable.evaluate_cuts(described, folder, [12, 5])
    whole = table["12 bits"]
    for part, result in evaluation.results.items():
        assert whole[f"map_{part}"] == pytest.approx(result.metrics["map"])
    assert set(table["5 bits"]) == set(whole)
    own = next(iter(evaluation.results))
    cuts = scalable.map_of_cuts(described, folder, [12, 5])
    assert cuts == {bits: table[f"{bits} bits"][f"map_{own}"] for bits in (12, 5)}


def test_weighted_ranking_of_cut_codes_is_the_sorted_one(drsch_run):
    folder, described, evaluation = drsch_run
    found = scalable.evaluate_cuts(described, folder, [5])["5 bits"]
    state = checkpoint.best(folder, described.state_shapes).state
    weight = np.asarray(state.evaluation_variables()["params"]["bcoding"]["weight"], np.float64)
    kept = np.argsort(-(weight**2), kind="stable")[:5]
    with np.load(folder / "eval" / f"{evaluation.step}.npz") as saved:
        query, database = (
            np.unpackbits(saved[f"{part}_code"], axis=1, bitorder="little")[:, kept]
            for part in ("query", "unseen")
        )
        relevant = saved["query_label"].astype(int) @ saved["unseen_label"].T.astype(int) > 0
    differ_QxRxK = query[:, None] != database[None]
    # Rounded, so that sums in another order tie as they should.
    distance = np.round((differ_QxRxK * weight[kept] ** 2).sum(-1), 5)
    wanted = [ap_by_sorting(d, r) for d, r in zip(distance, relevant, strict=True)]
    assert found["weighted_map_unseen"] == pytest.approx(np.mean(wanted), rel=1e-4)
    plain = [ap_by_sorting(d, r) for d, r in zip(differ_QxRxK.sum(-1), relevant, strict=True)]
    assert found["map_unseen"] == pytest.approx(np.mean(plain), rel=1e-4)


def test_other_runs_and_lengths_are_refused(drsch_run):
    folder, described, _ = drsch_run
    with pytest.raises(ValueError, match="no run of drsch: only its head gives bits weights"):
        scalable.evaluate_cuts(tiny.run(), tiny.finished_run(), [5])
    with pytest.raises(ValueError, match="bits is 13; pass one weight a bit"):
        scalable.evaluate_cuts(described, folder, [13])
