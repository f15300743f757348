"""Rows of hand-made runs: intervals, table, comparison, plot."""

import math

import numpy as np
import pytest
from PIL import Image

from dsh_jax.sweeps import ablation
from dsh_jax.sweeps.ablation import Setting


def setting(row, values, amount=10.0, bits=48, **more):
    runs = [
        {"seed": seed, "eval_train/map": v, "eval_unseen/map": v - 0.01, **more}
        for seed, v in enumerate(values)
    ]
    return Setting(row, f"{amount:g} per class", amount, bits, runs)


CONTROL = setting("labels alone", [0.80, 0.82, 0.84])
BETTER = setting("all", [0.95, 0.96, 0.97], **{"train/confident": 0.5})


def test_interval_is_student_s():
    mean, low, high = ablation.interval([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)  # t of 2 degrees of freedom at .975, s = 1
    assert (mean, low, high) == (2, pytest.approx(2 - half), pytest.approx(2 + half))
    assert ablation.interval([0.5])[0] == 0.5
    assert math.isnan(ablation.interval([0.5])[1])
    with pytest.raises(ValueError, match="no value to take the mean of"):
        ablation.interval([])


def test_table_has_the_columns_that_any_run_has():
    cells = ablation.table([CONTROL, BETTER, setting("none", [])])
    head = ["row", "labels", "bits", "seeds", "mAP, database=train", "mAP, database=unseen"]
    assert cells[0] == [*head, "confident"]
    assert cells[1][:4] == ["labels alone", "10 per class", "48", "3"]
    assert cells[1][4] == f"0.8200 ± {0.02 * 4.302653 / math.sqrt(3):.4f}"
    assert cells[1][6] == ""
    assert cells[2][6] == "0.5000 ± 0.0000"
    assert cells[3][3:] == ["0", "", "", ""]


def test_gain_is_of_the_same_seeds():
    half = 0.05 * 4.302653 / math.sqrt(3)  # of .15, .10 and .20
    other = setting("other", [0.95, 0.92, 1.04])
    cells = ablation.table([CONTROL, other, setting("none", [])], control="labels alone")
    assert [line[-1] for line in cells] == [
        "gain, paired by seed", "", f"+0.1500 ± {half:.4f}", "",
    ]  # fmt: skip
    lacking = Setting("x", "", 10.0, 48, [{"seed": 2, "map": 0.5}, {"seed": 7, "map": 0.9}])
    against = Setting("y", "", 10.0, 48, [{"seed": 0, "map": 0.1}, {"seed": 2, "map": 0.8}])
    assert ablation.gains(lacking, against, "map") == [pytest.approx(-0.3)]
    # Another amount of labels is another control.
    cells = ablation.table([CONTROL, setting("other", [0.9], amount=60.0)], control="labels alone")
    assert cells[2][-1] == ""


def test_one_row_beats_another_where_the_intervals_are_apart():
    metric = "eval_unseen/map"
    assert ablation.beats(BETTER, CONTROL, metric)
    assert not ablation.beats(CONTROL, BETTER, metric)
    assert not ablation.beats(setting("wide", [0.8, 0.99, 0.99]), CONTROL, metric)
    assert ablation.beats(setting("one", [0.99]), CONTROL, metric) is None


def test_plot_draws_every_row_with_results(tmp_path):
    settings = [CONTROL, BETTER, setting("all", [0.99], amount=60.0), setting("none", [])]
    path = tmp_path / "semi.png"
    ablation.save_plot(path, "digits", settings, "eval_unseen/map", "mAP")
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    # Blue and orange, the first two rows' lines.
    for colour in ((31, 119, 180), (255, 127, 14)):
        assert (abs(pixels.astype(int) - np.array(colour)).max(1) < 8).sum() > 200
