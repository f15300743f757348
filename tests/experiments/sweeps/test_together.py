"""Runs of a sweep by one program: which go together, how they end, what the table says."""

import pytest
import tiny
from absl import logging
from commands import command
from etils import epath
from sweeping import SIZES, rows_of

from configs import digits
from dsh_jax.runs import point
from experiments.sweeps import together
from experiments.sweeps.runs import STOPPED, make_run
from experiments.sweeps.status import read_record
from experiments.sweeps.together import Together


def runs_of(folder, points):
    return [
        make_run(point, epath.Path(folder), python="python", config_file="c.py", overrides={})
        for point in points
    ]


@pytest.fixture
def outcomes(monkeypatch):
    """What pretended trainings of groups end with, by their bits; the groups that were trained."""
    ends, trained = {}, []

    def train(configs, folders, *, described):
        trained.append([(config.model.bits, config.seed) for config in configs])
        end = ends[configs[0].model.bits]
        if isinstance(end, Exception):
            raise end
        for folder, how in zip(folders, end, strict=True):
            if how == "not finite":
                folder.mkdir(parents=True)
                (folder / point.NOT_FINITE).write_text("step 3: loss is nan.\n")
        return end

    monkeypatch.setattr(together.population, "train", train)
    monkeypatch.setattr(together.build, "build", lambda config: None)
    monkeypatch.setattr(together.evaluate, "evaluate_run", lambda *_: None)
    monkeypatch.setattr(together.gallery, "report_run", lambda *_: None)
    return ends, trained


def test_runs_that_differ_in_factors_and_seeds_go_together():
    changes = [
        {"optimizer__learning_rate": 1e-3, "seed": 0},
        {"model__bits": 16},
        {"optimizer__learning_rate": 2e-3, "seed": 1},
        {"model__bits": 16, "loss__z": 0.5, "loss__beta_growth": 0.1},
        {"optimizer__name": "sgd"},
    ]
    configs = [tiny.config(**change) for change in changes]
    assert point.alike(configs) == [[0, 2], [1, 3], [4]]


def test_a_group_that_fails_and_a_run_that_is_not_finite_stop_no_other(tmp_path, outcomes, caplog):
    logging.get_absl_logger().propagate = True
    ends, trained = outcomes
    ends |= {8: ValueError("no such data"), 12: ["complete", "not finite"], 16: ["complete"]}
    points = [{"model.bits": b, "seed": s} for b, s in ((8, 0), (12, 0), (8, 1), (12, 1), (16, 0))]
    launcher, runs, seen = Together(tiny.config()), runs_of(tmp_path, points), {}
    launcher.start(runs)
    while launcher.running:
        seen |= {one.name: how for one, how in launcher.poll()}
    assert trained == [[(8, 0), (8, 1)], [(12, 0), (12, 1)], [(16, 0)]]
    assert [seen[one.name] for one in runs] == ["failed", "", "failed", "failed", ""]
    reasons = {one.name: read_record(one.name, one.point, epath.Path(tmp_path)) for one in runs}
    assert reasons["model.bits=8,seed=1"].reason == "failed: error: no such data"
    assert reasons["model.bits=12,seed=1"].reason == "failed: error: step 3: loss is nan."
    assert caplog.messages == ["no such data"]


def test_asked_to_stop_it_marks_the_runs_that_saved_and_starts_no_other(tmp_path, outcomes):
    ends, trained = outcomes
    ends |= {8: ["complete", "interrupted"], 12: ["complete"]}
    points = [{"model.bits": b, "seed": s} for b, s in ((8, 0), (8, 1), (12, 0))]
    launcher, runs = Together(tiny.config()), runs_of(tmp_path, points)
    launcher.start(runs)
    with pytest.raises(KeyboardInterrupt):
        launcher.poll()
    launcher.stop()
    assert launcher.poll() == []
    assert len(trained) == 1
    assert [one.end.read_text().strip() for one in runs[:2]] == ["", STOPPED]
    assert not runs[2].end.exists()


def test_features_are_made_once_for_all_groups_that_share_them(tmp_path, monkeypatch):
    config = digits.get_config("smoke")
    config.method = "lsh"
    made, used = [], []
    features_of = together.shallow.features_of

    def counted(source, **made_by):
        made.append(made_by["path"])
        return features_of(source, kind="pixels") + len(made)

    def fitted(config, source, split, folder, *, feature_NxD):
        used.append((config.shallow.features_path, feature_NxD.min()))

    monkeypatch.setattr(together.shallow, "features_of", counted)
    monkeypatch.setattr(together.shallow, "run", fitted)
    points = [
        {"shallow.features_path": path, "model.bits": bits}
        for path in ("a", "b")
        for bits in (8, 12)
    ]
    launcher = Together(config)
    launcher.start(runs_of(tmp_path, points))
    while launcher.running:
        launcher.poll()
    assert made == ["a", "b"]
    assert used == [("a", 1), ("a", 1), ("b", 2), ("b", 2)]


@pytest.mark.slow  # two minutes
def test_the_command_trains_groups_and_repeats_only_what_failed(tmp_path):
    points = "model.bits=0,8;optimizer.learning_rate=1e-3,2e-3"
    flags = ["--config=configs/digits.py:smoke", *SIZES, f"--sweep={points}"]
    flags += ["--launcher=vmap", f"--workdir={tmp_path}"]
    shown = command("sweep", *flags)
    assert shown.returncode == 1, shown.stderr
    assert "runs of each program: 2 2\n" in shown.stdout
    rows = rows_of(epath.Path(tmp_path))
    assert [row["state"] for row in rows] == ["failed", "failed", "finished", "finished"]
    assert all(row["reason"].startswith("failed: error: model.bits is 0") for row in rows[:2])
    assert (tmp_path / "model.bits=8,optimizer.learning_rate=0.002" / "report.html").exists()
    again = command("sweep", *flags)
    assert "runs of each program: 2\n" in again.stdout
