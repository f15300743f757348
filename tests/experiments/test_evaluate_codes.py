"""The evaluation command on codes that people already hold."""

import json

import numpy as np
import pytest
from commands import command, last_line
from etils import epath
from PIL import Image
from scipy.stats import entropy

from dsh_jax import plots
from dsh_jax.evaluation import results
from dsh_jax.metrics import presets

Q, R, K, C = 6, 40, 24, 3


@pytest.fixture(scope="module")
def arrays():
    """Codes that are their class's code with a few bits flipped."""
    rng = np.random.default_rng(0)
    query_class, database_class = np.arange(Q) % C, np.arange(R) % C
    code = rng.integers(0, 2, (C, K))
    flip = rng.random((Q + R, K)) < 0.2
    bit = (code[np.concatenate([query_class, database_class])] ^ flip).astype(np.uint8)
    return {
        "query_code": bit[:Q],
        "query_label": query_class,
        "database_code": bit[Q:],
        "database_label": database_class,
    }


@pytest.fixture(scope="module")
def evaluated(arrays, tmp_path_factory):
    """Results made by the command: (folder of the codes, process)."""
    folder = epath.Path(tmp_path_factory.mktemp("codes"))
    np.savez(folder / "tiny.npz", **arrays)
    flags = "--k=1,5,20", "--presets=hashnet@9,talr", "--cost", "--cost_queries=3"
    process = command("evaluate", f"--codes={folder / 'tiny.npz'}", *flags)
    assert process.returncode == 0, process.stderr
    return folder, process


@pytest.fixture(scope="module")
def result(arrays):
    """What the library makes of the same codes."""
    query, database = (
        np.packbits(arrays[name], axis=1, bitorder="little")
        for name in ("query_code", "database_code")
    )
    query_label, database_label = (
        np.eye(C)[arrays[name]] for name in ("query_label", "database_label")
    )
    codes = query, query_label, database, database_label
    result = results.retrieve(*codes, bits=K, precision_at=(1, 5, 20))
    result.metrics["mAP of hashnet@9"] = presets.hashnet(*codes, bits=K, k=9)
    result.metrics["mAP of talr"] = presets.talr(*codes, bits=K)
    mean = arrays["database_code"].mean(axis=0)
    result.metrics["bit_mean_min"], result.metrics["bit_mean_max"] = mean.min(), mean.max()
    result.metrics["bit_entropy"] = entropy([mean, 1 - mean], base=2).mean()
    result.metrics["dead_bits"] = np.sum((mean == 0) | (mean == 1))
    result.metrics["distinct_codes"] = len(np.unique(arrays["database_code"], axis=0)) / R
    return result


@pytest.fixture(scope="module")
def written(evaluated):
    folder, _ = evaluated
    return json.loads((folder / "tiny.npz-evaluation" / "metrics.json").read_text())


def test_numbers_are_those_of_retrieve(written, result):
    assert written["metrics"] == pytest.approx(result.metrics, abs=1e-6)
    assert set(written["metrics"]) >= {"map", "precision_at_1", "precision_at_5", "precision_at_20"}
    np.testing.assert_allclose(written["ap_Q"], result.ap_Q, atol=1e-6)
    np.testing.assert_allclose(written["recall_D"], result.recall_D, atol=1e-6)


def test_costs_are_said_and_written(evaluated):
    folder, process = evaluated
    costs = json.loads((folder / "tiny.npz-evaluation" / "cost.json").read_text())
    assert costs[0]["method"] == "all codes"
    assert {"lookup within a radius", "locality-sensitive"} <= {one["method"] for one in costs}
    said = [line for line in process.stdout.splitlines() if line.startswith("all codes")]
    assert [line.split()[2:4] for line in said] == [["1.000", f"{costs[0]['precision']:.3f}"]]


def test_a_radius_that_holds_nothing_is_null(written, result):
    nothing = np.isnan(result.precision_D)
    assert nothing.any()
    assert [value is None for value in written["precision_D"]] == nothing.tolist()


def test_counts_and_notes_are_written_and_said(written, evaluated):
    _, process = evaluated
    counts = {name: written[name] for name in ("bits", "queries", "database", "classes")}
    assert counts == {"bits": K, "queries": Q, "database": R, "classes": C}
    assert "Codes: 0/1, 24 bits." in written["notes"]
    assert "Labels: one integer per row, 3 classes, single-label." in written["notes"]
    assert process.stdout.startswith("\n".join(written["notes"]))


def test_table_is_the_one_of_a_run(evaluated, result):
    folder, process = evaluated
    assert results.metrics_table({"database (40)": result.metrics}) in process.stdout
    assert last_line(process.stdout) == f"results: {folder / 'tiny.npz-evaluation'}"


def test_plots_are_images(evaluated):
    folder, _ = evaluated
    out = folder / "tiny.npz-evaluation"
    names = sorted(file.name for file in out.iterdir())
    pictures = ["cost.png", "precision_at_k.png", "precision_recall.png"]
    assert names == sorted(["cost.json", "metrics.json", *pictures])
    for name in pictures:
        with Image.open(out / name) as image:
            image.verify()
            assert image.format == "PNG"


def test_rank_beyond_the_database_is_one_clear_line(evaluated):
    folder, _ = evaluated
    process = command("evaluate", f"--codes={folder / 'tiny.npz'}", "--k=41")
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert last_line(process.stderr) == "error: --k has 41, but the database 40 rows; pass 1 to 40"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("map", "--presets has map; pass some of area_rp, csq, deephash_pytorch"),
        ("talr@5", "--presets has talr@5; pass talr alone: it has no cut"),
    ],
)
def test_unknown_preset_is_one_clear_line(evaluated, text, message):
    folder, _ = evaluated
    process = command("evaluate", f"--codes={folder / 'tiny.npz'}", f"--presets={text}")
    assert process.returncode != 0
    assert message in last_line(process.stderr)


def test_codes_and_workdir_exclude_each_other():
    process = command("evaluate", "--codes=a.npz", "--workdir=runs/a")
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert "Exactly one of (workdir, codes) must have a value" in last_line(process.stderr)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--workdir=runs/a", "--k=1"), "--k belongs to --codes; leave it out with --workdir"),
        (
            ("--codes=a.npz", "--on=configs/digits.py"),
            "--on belongs to --workdir; leave it out with --codes",
        ),
        (
            ("--codes=a.npz", "--views=2"),
            "--views belongs to --workdir; leave it out with --codes",
        ),
        (
            ("--codes=a.npz", "--tsne"),
            "--tsne belongs to --workdir; leave it out with --codes",
        ),
    ],
)
def test_flags_of_codes_and_of_runs_exclude_each_other(flags, message):
    process = command("evaluate", *flags)
    assert process.returncode == 1
    assert last_line(process.stderr) == f"error: {message}"


def test_line_of_precision_at_k_is_in_the_order_of_k():
    metrics = {"precision_at_100": 0.5, "map": 0.7, "precision_at_20": 0.9}
    curve = plots.precision_at("name", metrics)
    np.testing.assert_array_equal(curve.x, [20, 100])
    np.testing.assert_array_equal(curve.y, [0.9, 0.5])


def test_table_has_a_line_for_each_name_in_any_column():
    text = results.metrics_table({"one": {"map": 0.5}, "two": {"map": 0.25, "chance": 0.1}})
    assert [line.split() for line in text.splitlines()] == [
        ["one", "two"],
        ["map", "0.5000", "0.2500"],
        ["chance", "0.1000"],
    ]


# Where the number alone misleads.


def evaluate(folder, *flags, **arrays):
    """Evaluate arrays by the command: (process, what metrics.json holds, if anything)."""
    np.savez(folder / "made.npz", **arrays)
    process = command("evaluate", f"--codes={folder / 'made.npz'}", "--k=1", *flags)
    written = folder / "made.npz-evaluation" / "metrics.json"
    return process, json.loads(written.read_text()) if written.exists() else None


def test_queries_without_a_relevant_item_are_said_and_written(arrays, tmp_path):
    absent = arrays | {"query_label": np.where(np.arange(Q) < 4, 7, arrays["query_label"])}
    process, written = evaluate(tmp_path, **absent)
    note = "4 of 6 queries have no relevant item: they share no label with a database row (classes"
    assert note in process.stdout
    assert any(text.startswith(note) for text in written["notes"])
    assert written["without_relevant"] == 4
    assert written["metrics"]["map"] <= 2 / 6 + 1e-6


def test_bytes_of_0_and_255_are_refused_until_bits_says_what_they_are(arrays, written, tmp_path):
    held = {name: 255 * arrays[name] for name in ("query_code", "database_code")}
    process, nothing = evaluate(tmp_path, **arrays | held)
    assert process.returncode == 1
    assert "pass bits=24 or bits=192 (--bits)" in last_line(process.stderr)
    assert nothing is None
    _, told = evaluate(tmp_path, "--bits=24", **arrays | held)
    assert told["notes"][1] == "Codes: 0/255 (bit = 1 where the value is 255), 24 bits."
    assert told["ap_Q"] == pytest.approx(written["ap_Q"])
