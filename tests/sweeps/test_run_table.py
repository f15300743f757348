"""The table of a sweep, by hand."""

import csv
import io

import numpy as np
import pytest

from dsh_jax.sweeps.run_table import (
    Record,
    against_key,
    aligned,
    curves,
    groups,
    swept_keys,
    to_csv,
    to_markdown,
)


def finished(bits, seed, value, **others):
    metrics = {"eval/map": value, "step": 20.0} | {
        f"eval_{name}/map": other for name, other in others.items()
    }
    point = {"model.bits": bits, "seed": seed}
    return Record(f"model.bits={bits},seed={seed}", point, "finished", metrics=metrics)


RECORDS = [
    finished(24, 0, 0.75, unseen=0.5),
    finished(24, 1, 0.85, unseen=0.5),
    finished(12, 0, 0.50, unseen=0.25),
    Record("model.bits=12,seed=1", {"model.bits": 12, "seed": 1}, "failed", "exit code 1: a|b"),
    Record("model.bits=48,seed=0", {"model.bits": 48, "seed": 0}, "waiting"),
]


def test_groups_are_over_seeds():
    wide, narrow = groups(RECORDS)
    assert wide.point == {"model.bits": 24}
    assert wide.runs == 2
    assert wide.values == {"eval/map": [0.75, 0.85], "eval_unseen/map": [0.5, 0.5]}
    assert narrow.point == {"model.bits": 12}
    assert narrow.runs == 1
    assert narrow.values == {"eval/map": [0.5], "eval_unseen/map": [0.25]}


def test_markdown_has_means_and_the_runs_without_result():
    assert to_markdown(RECORDS) == (
        "| model.bits | runs | mAP | mAP, database=unseen |\n"
        "| --- | --- | --- | --- |\n"
        # t of one degree of freedom is 12.706, s / √2 = 0.05.
        "| 24 | 2 | 0.8000 ± 0.6353 | 0.5000 ± 0.0000 |\n"
        "| 12 | 1 | 0.5000 | 0.2500 |\n"
        "\n"
        "mAP: tie-aware, whole ranking; mean ± half of the 95 % interval over seeds.\n"
        "\n"
        "2 of 5 runs have no result:\n"
        "\n"
        "- model.bits=12,seed=1: failed, exit code 1: a\\|b\n"
        "- model.bits=48,seed=0: waiting\n"
    )


def test_markdown_says_what_the_codes_are_like_and_how_long_they_took():
    metrics = {"eval/map": 0.5, "eval/distinct_codes": 0.25, "eval/dead_bits": 1.0}
    records = [
        Record("a", {"seed": 0}, "finished", metrics=metrics | {"train/seconds": 59.0}),
        Record("b", {"seed": 1}, "finished", metrics=metrics | {"eval/dead_bits": 2.0}),
    ]
    heading, _, row, _, note = to_markdown(records).splitlines()
    assert heading == "| runs | mAP | distinct codes | dead bits | seconds |"
    assert row == "| 2 | 0.5000 ± 0.0000 | 25.0% | 1.5 | 59 |"
    assert note.endswith("Seconds: of the steps; of runs trained by one program, of all of them.")


def test_markdown_of_nothing_finished_has_no_table():
    assert to_markdown(RECORDS[4:]) == (
        "1 of 1 runs have no result:\n\n- model.bits=48,seed=0: waiting\n"
    )


def test_csv_has_a_row_for_each_run():
    header, *rows = csv.reader(io.StringIO(to_csv(RECORDS)))
    assert header == [
        *("run", "model.bits", "seed", "state", "reason", "eval/map", "eval_unseen/map")
    ]
    assert rows[0] == ["model.bits=24,seed=0", "24", "0", "finished", "", "0.75", "0.5"]
    assert rows[3] == ["model.bits=12,seed=1", "12", "1", "failed", "exit code 1: a|b", "", ""]
    assert len(rows) == 5


def test_one_line_has_its_deviation_and_ascending_x():
    mean, above, below = curves(RECORDS, "model.bits")
    np.testing.assert_array_equal(mean.x, [12, 24])
    np.testing.assert_allclose(mean.y, [0.5, 0.8])
    np.testing.assert_allclose(above.y, [0.5, 0.8 + 0.005**0.5])
    np.testing.assert_allclose(below.y, [0.5, 0.8 - 0.005**0.5])
    assert [curve.name for curve in (mean, above, below)] == ["mean", "mean + sd", "mean − sd"]


def test_other_settings_have_a_line_each():
    records = [
        Record(
            f"{loss}{bits}",
            {"loss.multilabel": loss, "model.bits": bits},
            "finished",
            "",
            {"eval/map": value},
        )
        for loss, bits, value in [("bce", 12, 0.1), ("margin", 24, 0.4), ("margin", 12, 0.3)]
    ]
    bce, margin = curves(records, "model.bits")
    assert (bce.name, margin.name) == ("loss.multilabel=bce", "loss.multilabel=margin")
    np.testing.assert_array_equal(bce.y, [0.1])
    np.testing.assert_array_equal(margin.y, [0.3, 0.4])
    with pytest.raises(ValueError, match=r"no number in loss\.multilabel"):
        curves(records, "loss.multilabel")


def test_names_of_lines_are_short():
    points = [{"loss.z": 0.123456789, "model.bits": bits} for bits in (12, 24)]
    records = [Record("a", point, "finished", "", {"eval/map": 0.5}) for point in points]
    (curve,) = curves(records, "model.bits")
    assert curve.name == "loss.z=0.123"


def test_axis_is_the_bits_or_the_first_setting_with_numbers():
    assert against_key(RECORDS) == "model.bits"
    point = {"seed": 0, "loss.multilabel": "bce", "augment.flip": True, "loss.z": 0.1}
    assert against_key([Record("a", point, "finished")]) == "loss.z"
    assert against_key([Record("a", {"seed": 0}, "finished")]) == ""


def test_keys_of_all_runs_keep_their_order():
    records = [Record("a", {"b": 1, "a": 2}, ""), Record("c", {"c": 1, "a": 2}, "")]
    assert swept_keys(records) == ["b", "a", "c"]


def test_cells_stand_in_columns():
    assert aligned([["a", "bb", ""], ["ccc", "d", "e"]]) == ["a    bb", "ccc  d   e"]
