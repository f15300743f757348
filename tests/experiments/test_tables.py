"""The comparison's command: which runs it makes, and the tables of what there is."""

import numpy as np
import pytest
from commands import command
from etils import epath
from places import PREPARED

from configs.tables import cifar10, mnist
from dsh_jax import plots
from dsh_jax.sweeps import comparison
from dsh_jax.training import run_folder, writers
from experiments import tables
from experiments.sweeps import runs


def config_of():
    """Three rows on digits, whose runs are made by hand."""
    config = mnist.get_config()
    config.base = "configs/digits.py:smoke"
    config.own_protocol, config.others_protocol = "official", "random"
    config.settings = (("data.queries", 100), ("data.train_rows", 500))
    config.bits, config.seeds = (12, 24), 2
    config.rows = tuple(row for row in config.rows if row[0] in ("DHS", "ITQ", "ITQ-VGGF"))
    return config


def write_run(config, cells, point, value):
    one = runs.make_run(point, cells, python="", config_file=config.base, overrides={})
    base = tables.base_config(config.base)
    folder = run_folder.open_run(runs.config_of(one, base), one.folder)
    scalars = {"eval/map": value, "eval/chance": 0.1, "eval/precision_at_100": value / 2}
    writers.JsonLines(folder / "metrics.jsonl", bool).write_scalars(0, scalars)


def test_tables_hold_what_is_finished_and_say_what_is_not(tmp_path, capsys):
    config, cells = config_of(), epath.Path(tmp_path) / "cells"
    dhs, _, itq = config.rows
    for number, point in enumerate(tables.points_of(config, itq, "random")):
        write_run(config, cells, point, 0.4 + number / 100)
    write_run(config, cells, tables.points_of(config, dhs, "official")[0], 0.99)
    assert tables.run(config, epath.Path(tmp_path), collect=True) == 1
    page = (tmp_path / "as_printed" / "tables.md").read_text()
    assert page.rstrip() in capsys.readouterr().out
    lines = page.splitlines()
    assert "| DHS | official | ours, from scratch | 425 | .990 (.985) | none (.990) |" in lines
    assert any(
        line.startswith("| ITQ | random | pixels | 0 | .405 ± .007 (.404) | .425 ± .007 (.442) |")
        for line in lines
    )
    assert any("ITQ-VGGF (random): needs weights" in line for line in lines)
    assert any("DHS (official): 3 runs without result, such as" in line for line in lines)
    assert ".213 ± .004 (.820)" in page  # precision at 100 of the longest code
    assert (tmp_path / "as_printed" / "figure_4.png").stat().st_size > 10_000
    assert (tmp_path / "random" / "table_1.csv").exists()
    assert "\\begin{tabular}" in (tmp_path / "official" / "table_2.tex").read_text()


def test_points_of_a_row_are_its_lengths_and_seeds():
    config = config_of()
    dhs, vggf, itq = config.rows
    assert len(tables.points_of(config, itq, "random")) == 4
    (first, *_) = tables.points_of(config, dhs, "official")
    assert first == {
        **dict(config.settings),
        "data.protocol": "official",
        "method": "dhs",
        "training.labelled_share": 1.0,
        **dict(config.deep),
        "model.bits": 12,
        "seed": 0,
    }
    config.vggf_path = "weights.mat"
    assert tables.points_of(config, vggf, "random")[0]["shallow.features_path"] == "weights.mat"


def test_fewer_lengths_are_fewer_under_the_own_protocol_too(tmp_path):
    config, cells = config_of(), epath.Path(tmp_path) / "cells"
    (itq,) = config.rows = config.rows[-1:]
    config.own_bits, config.bits, config.seeds = (12, 48), (12,), 1
    for protocol in ("official", "random"):
        (point,) = tables.points_of(config, itq, protocol)
        write_run(config, cells, point, 0.5)
    assert tables.run(config, epath.Path(tmp_path), collect=True) == 0
    config.own_bits = (48,)
    assert not tables.points_of(config, itq, "official")
    assert tables.run(config, epath.Path(tmp_path), collect=True) == 0
    page = (tmp_path / "official" / "tables.md").read_text()
    assert "| ITQ | official | pixels | 0 | none (.404) |" in page


def test_rows_of_an_encoders_features_need_its_file(tmp_path):
    config, cells = config_of(), epath.Path(tmp_path) / "cells"
    config.rows, config.bits = (), (12,)
    config.fc7_rows = config.fc7_rows[1:2]
    config.fc7_path = "fc7-{protocol}.npy"
    (itq,) = config.fc7_rows
    points = tables.points_of(config, itq, "random")
    assert points[0]["shallow.features"] == "file"
    assert points[0]["shallow.features_path"] == "fc7-random.npy"
    for point in points:
        write_run(config, cells, point, 0.75)
    assert tables.run(config, epath.Path(tmp_path), collect=True) == 1  # the other protocol's
    page = (tmp_path / "random" / "tables.md").read_text().splitlines()
    # The encoder read the labels, so the row has.
    assert "| ITQ-FC7 | random | FC7 of our encoder | 475 | .750 ± .000 |" in page
    config.rows, config.fc7_path = config_of().rows, ""
    tables.run(config, epath.Path(tmp_path), collect=True)
    assert "ITQ-FC7" not in (tmp_path / "random" / "tables.md").read_text()


def test_one_long_code_fills_every_length_of_its_row(tmp_path, monkeypatch):
    config, cells = config_of(), epath.Path(tmp_path) / "cells"
    (cut,) = config.rows = tuple(row for row in mnist.ROWS if row[0] == config.cut_row)
    config.seeds = 1
    (point,) = tables.points_of(config, cut, "random")
    assert point["model.bits"] == 64
    write_run(config, cells, point, 0.99)

    def cuts(described, folder, lengths):
        assert run_folder.read_config(folder).model.bits == 64
        return {bits: bits / 100 for bits in lengths}

    monkeypatch.setattr(tables.scalable, "map_of_cuts", cuts)
    tables.run(config, epath.Path(tmp_path), collect=True)
    page = (tmp_path / "random" / "tables.md").read_text()
    assert "| DRSCH, cut | random | ours, from scratch | 475 | .120 | .240 |" in page


def test_every_row_of_every_table_is_a_config():
    own = {mnist: (), cifar10: ("deep_cpu", "pretrained")}
    for module, others in own.items():
        for variant in ("full", "paper", "shallow", "smoke", *others):
            config = module.get_config(variant)
            base = tables.base_config(config.base)
            for row in (*config.rows, *config.fc7_rows):
                point = tables.points_of(config, row, config.others_protocol)[0]
                changed = base.copy_and_resolve_references()
                changed.update_from_flattened_dict(point)
    with pytest.raises(ValueError, match="unknown variant 'all'; known: full, paper"):
        mnist.get_config("all")


def test_each_figure_has_its_own_curves(tmp_path, monkeypatch):
    drawn = {}

    def save_lines(path, title, curves, **axes):
        drawn[path.name] = [curve.y.tolist() for curve in curves]

    monkeypatch.setattr(tables.plots, "save_lines", save_lines)
    config = config_of()
    measured = {"eval/map": 0.5, "eval/chance": 0.1, "eval/precision_at_100": 0.25}
    found = {bits: [measured] for bits in config.bits}
    row = comparison.Row("ITQ", "random", "pixels", 0, found, "")
    curve = plots.Curve("ITQ", np.array([0.0, 1.0]), np.array([0.75, 0.1]))
    tables.write(config, epath.Path(tmp_path), "random", [row], [curve])
    assert drawn["figure_4.png"][0] == [0.5, 0.5]
    assert drawn["figure_5.png"][0][0] == 0.25
    assert drawn["precision_recall.png"] == [[0.75, 0.1]]


def test_precision_recall_is_of_the_codes_that_the_run_wrote(tmp_path):
    folder = epath.Path(tmp_path)
    assert tables.precision_recall("ITQ", folder) is None
    (folder / "eval").mkdir()
    arrays = {
        "bits": 8,
        "query_code": np.array([[0]], np.uint8),
        "query_label": np.array([[1, 0]], np.uint8),
        # Distances 0, 1 and 8; the second is wrong.
        "protocol_code": np.array([[0], [1], [255]], np.uint8),
        "protocol_label": np.array([[1, 0], [0, 1], [1, 0]], np.uint8),
    }
    np.savez(folder / "eval" / "0.npz", **arrays)
    curve = tables.precision_recall("ITQ", folder)
    assert curve.name == "ITQ"
    np.testing.assert_allclose(curve.x, [0.5] * 8 + [1])
    np.testing.assert_allclose(curve.y, [1] + [0.5] * 7 + [2 / 3])


@pytest.mark.slow  # five minutes
@pytest.mark.skipif(not (PREPARED / "mnist").is_dir(), reason=f"no MNIST at {PREPARED}")
def test_smoke_tables_of_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(PREPARED))
    shown = command("tables", "--config=configs/tables/mnist.py:smoke", f"--workdir={tmp_path}")
    assert shown.returncode == 0, shown.stderr[-3000:]
    page = (tmp_path / "as_printed" / "tables.md").read_text()
    assert "no result" not in page
    assert page.count("needs weights") == 4
    again = command("tables", "--config=configs/tables/mnist.py:smoke", f"--workdir={tmp_path}")
    assert "9 of 9 runs are finished" in again.stdout
