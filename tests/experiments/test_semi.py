"""The ablation's command: which runs it makes, its table and what it refuses."""

import json

import pytest
from absl import flags
from absl.testing import flagsaver
from commands import command
from etils import epath

from configs import digits
from dsh_jax.data import splits
from dsh_jax.training import build, run_folder
from dsh_jax.training.settings import learns_from_average
from experiments import semi
from experiments.sweeps import runs

DATA = ("--config.data.queries=300", "--config.model.width=0.03125", "--config.model.fc_dim=8")


@pytest.fixture(autouse=True)
def parsed():
    """Flags have their defaults."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def config_of(point):
    config = digits.get_config("modern")
    config.data.queries = 300
    config.update_from_flattened_dict(point)
    return config


def test_rows_differ_in_their_terms_alone_and_read_as_many_labelled_rows_a_step():
    described = {}
    for row in semi.ROWS:
        config = config_of(semi.point_of(row, "5", 24, 1))
        assert config.data.labels_per_class == 5
        training = config.training
        labelled = round(training.batch_size * training.labelled_share)
        described[row] = labelled, training.hashing_steps, config.model.bits, config.seed
        teacher = ("pseudo-labels", "consistency", "similarity")
        assert learns_from_average(config) == (row == "all" or any(t in row for t in teacher))
    assert set(described.values()) == {(32, 1000, 24, 1)}
    assert config_of(semi.point_of("labels alone", "5", 24, 1)).training.batch_size == 32
    assert config_of(semi.point_of("all", "0.1", 24, 1)).data.label_fraction == 0.1


def write_run(workdir, row, seed, value):
    """A finished run, made by hand."""
    point = semi.point_of(row, "5", 24, seed)
    one = runs.make_run(point, workdir, python="", config_file="", overrides={})
    config = config_of(point)
    folder = run_folder.open_run(config, one.folder)
    splits.save(build.load_split(config, build.load_source(config)), folder / "split.npz")
    records = [
        {"step": 10, "train/loss": 1.0, "train/confident": 0.5, "train/confident_right": 0.4},
        {"step": 10, "eval/map": value, "eval_unseen/map": value - 0.01, "eval/accuracy": 0.9},
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(lines)
    return one


def test_table_has_means_verdicts_and_what_is_missing(tmp_path):
    workdir = epath.Path(tmp_path)
    control = [write_run(workdir, "labels alone", s, 0.8 + s / 100) for s in range(2)]
    better = [write_run(workdir, "all", s, 0.95 + s / 1000) for s in range(2)]
    missing = runs.make_run(
        semi.point_of("consistency", "5", 24, 0), workdir, python="", config_file="", overrides={}
    )
    settings = [
        semi.setting_of("labels alone", "5", 24, control),
        semi.setting_of("all", "5", 24, better),
        semi.setting_of("consistency", "5", 24, [missing]),
    ]
    page = semi.write(workdir, "digits", settings)
    assert "| all | 5 per class | 24 | 2 | 0.9505 ± 0.0064 | 0.9405 ± 0.0064 | 0.9000 ± " in page
    assert "0.8000 ± 0.0000 | +0.1455 ± 0.0572 |" in page  # .4 of .5; .150 and .141
    assert (
        "best other row is 'all', 0.9405 against 0.7950 of the labels alone (intervals apart)"
        in page
    )
    assert "consistency, 5 per class, 24 bits: 1 runs without result, such as waiting" in page
    assert (tmp_path / "semi-24.png").stat().st_size > 10_000
    assert (workdir / "semi.csv").read_text().startswith("row,labels,bits,seeds,")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rows": ["labels alone", "more"]}, "--rows has 'more'; known: labels alone;"),
        ({"labelled": 64, "batch": 64}, "--labelled is 64 of a --batch of 64: no room"),
    ],
)
def test_bad_flags_are_refused(tmp_path, given, message):
    with flagsaver.flagsaver(**given), pytest.raises(ValueError, match=message):
        semi.run(digits.get_config("modern"), epath.Path(tmp_path), collect=False)


@pytest.mark.slow  # half a minute
def test_two_rows_on_digits(tmp_path):
    given = ("--rows=labels alone,pseudo-labels", "--labels=5", "--bits=12", "--seeds=1")
    given += ("--steps=4", "--batch=32", "--labelled=16", f"--workdir={tmp_path}")
    shown = command("semi", "--config=configs/digits.py:modern", *DATA, *given)
    assert shown.returncode == 0, shown.stderr[-3000:]
    page = (tmp_path / "semi.md").read_text()
    assert page in shown.stdout
    assert page.count("| 5 per class | 12 | 1 | 0.") == 2
    assert "too few seeds to tell" in page
