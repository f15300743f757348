"""Points trained together are the runs that they would have been alone."""

import functools
import shutil

import jax
import numpy as np
import pytest
import tiny
from etils import epath
from speed import without_speed

from dsh_jax import parallel
from dsh_jax.data import splits
from dsh_jax.runs import evaluate, population, train
from dsh_jax.training import build
from dsh_jax.training.records import read_metrics

pytestmark = pytest.mark.slow

RATES = np.geomspace(5e-4, 4e-3, 8).tolist()
ENDS = (0, 7)  # of the eight: on the first and on the last device


def at_rate(number):
    return tiny.joint(optimizer__learning_rate=RATES[number], evaluation__validate_every_steps=10)


@functools.cache
def alone(number):
    """Return the folder of a run at one learning rate, trained alone."""
    folder = epath.Path(tiny.RUNS.name) / f"alone-{number}"
    assert train.train(at_rate(number), folder)
    return folder


def losses(folder):
    """Return the recorded losses of a run."""
    records = read_metrics(folder / "metrics.jsonl")
    return [record["train/loss"] for record in records if "train/loss" in record]


def assert_same_records(folder, other):
    """Compare all that two runs have recorded, the loss to 1e-4."""
    np.testing.assert_allclose(losses(folder), losses(other), atol=1e-4)
    # The first step of a process has no speed; some runs were evaluated since.
    found, wanted = (
        [
            without_speed(record)
            for record in read_metrics(one / "metrics.jsonl")
            if "eval/map" not in record
        ]
        for one in (folder, other)
    )
    assert [record.keys() for record in found] == [record.keys() for record in wanted]
    for one, another in zip(found, wanted, strict=True):
        assert one["step"] == another["step"]
        if "valid/map" in one:  # of few queries over 200 rows: a rounding may turn a bit
            np.testing.assert_allclose(one["valid/map"], another["valid/map"], atol=5e-3)


@pytest.fixture(scope="module")
def rates(tmp_path_factory):
    """Eight learning rates on four devices, stopped at step 7: (folder, stopped, outcomes)."""
    folder = epath.Path(tmp_path_factory.mktemp("rates"))
    configs, folders = [at_rate(i) for i in range(8)], [folder / str(i) for i in range(8)]
    first = population.train(configs, folders, stop_step=7)
    stopped = epath.Path(shutil.copytree(folders[0], folder / "stopped"))
    return folder, stopped, [first, population.train(configs, folders)]


def test_stopped_points_go_on_to_their_end(rates):
    _, _, outcomes = rates
    assert outcomes == [["interrupted"] * 8, ["complete"] * 8]


@pytest.mark.parametrize("number", range(8))
def test_eight_learning_rates_on_four_devices_are_eight_runs(rates, number):
    folder, _, _ = rates
    assert_same_records(folder / str(number), alone(number))


def test_points_differ(rates):
    folder, _, _ = rates
    assert len({losses(folder / str(i))[-1] for i in range(8)}) == 8


def test_a_point_leaves_what_a_run_leaves(rates):
    folder, _, _ = rates
    names, wanted = ({path.name for path in one.iterdir()} for one in (folder / "7", alone(7)))
    assert names == wanted
    assert splits.load(folder / "7" / "split.npz").hash == tiny.run().split.hash


def test_an_ordinary_run_goes_on_from_a_stopped_point(rates):
    _, stopped, _ = rates
    assert train.train(at_rate(0), stopped)
    assert_same_records(stopped, alone(0))


def test_a_complete_point_is_evaluated_as_a_run(rates):
    folder, _, _ = rates
    run = build.build(at_rate(7))
    found, wanted = (
        evaluate.evaluate_run(at_rate(7), run, one).scalars()["eval/map"]
        for one in (folder / "7", alone(7))
    )
    assert found == pytest.approx(wanted, abs=5e-3)


def test_complete_points_are_left_alone(rates):
    folder, _, _ = rates
    before = read_metrics(folder / "7" / "metrics.jsonl")
    assert population.train([at_rate(7)], [folder / "7"]) == ["complete"]
    assert [r for r in before if "eval/map" not in r] == read_metrics(
        folder / "7" / "metrics.jsonl"
    )


def test_points_that_no_device_holds_together_are_trained_in_turns(tmp_path, monkeypatch):
    described = build.build(at_rate(0))
    monkeypatch.setattr(parallel, "device_memory", lambda: 1)  # one point on each device
    folders = [tmp_path / str(i) for i in range(8)]
    outcomes = population.train([at_rate(i) for i in range(8)], folders, described=described)
    assert outcomes == ["complete"] * 8
    for number in ENDS:
        assert_same_records(folders[number], alone(number))


def test_one_device_trains_the_same_points(tmp_path, monkeypatch):
    monkeypatch.setattr(population, "Validator", lambda *_: lambda state: {})  # on four devices
    one = jax.local_devices()[:1]
    monkeypatch.setattr(jax, "local_devices", lambda: one)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    folders = [tmp_path / str(i) for i in ENDS]
    population.train([at_rate(i) for i in ENDS], folders)
    for number, folder in zip(ENDS, folders, strict=True):
        np.testing.assert_allclose(losses(folder), losses(alone(number)), atol=1e-4)


# Three points of two stages, which four devices must share, as one vmap; the last one diverges.
# Under SGD, since Adam's first steps hang on the signs of gradients that are zero but for rounding:
# there two runs part by 6e-4 in ten steps if only their number of devices differs.
STEEP = {"optimizer__name": "sgd", "optimizer__learning_rate": 0.05}
WEIGHTS = {"loss__x": 0.5, "loss__y": 0.3, "loss__z": 0.7, "optimizer__weight_decay": 0.1}
MIXED = (
    {**STEEP, "seed": 1},
    {**STEEP, **WEIGHTS, "seed": 2, "loss__beta": 1.5, "loss__beta_growth": 0.1},
    {**STEEP, "optimizer__learning_rate": 1e30},
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Points of other seeds and weights: (folder, outcomes, outcomes when asked again)."""
    folder = epath.Path(tmp_path_factory.mktemp("mixed"))
    configs = [tiny.config(**changed) for changed in MIXED]
    folders = [folder / str(i) for i in range(3)]
    outcomes = [population.train(configs, folders, take_turns=False) for _ in range(2)]
    return folder, outcomes


def test_seed_and_weights_are_those_of_the_single_run(mixed, tmp_path):
    folder, _ = mixed
    train.train(tiny.config(**MIXED[1]), tmp_path)
    assert_same_records(folder / "1", tmp_path)


def test_a_point_that_diverges_does_not_stop_the_others(mixed):
    folder, outcomes = mixed
    assert outcomes == [["complete", "complete", "not finite"]] * 2
    told = (folder / "2" / population.NOT_FINITE).read_text()
    step = int(told.removeprefix("step ").partition(":")[0])
    assert "is nan" in told or "is inf" in told
    recorded = [record["step"] for record in read_metrics(folder / "2" / "metrics.jsonl")]
    assert recorded == list(range(1, step))
    assert not (folder / "0" / population.NOT_FINITE).exists()


@pytest.mark.parametrize(
    ("changed", "folders", "message"),
    [
        ({"model__bits": 24, "seed": 3}, "ab", "the configs differ in model.bits: points of one"),
        ({"data__label_fraction": 1.0}, "ab", "differ in data.label_fraction"),
        ({"seed": 3}, "aa", "2 configs and 1 different workdirs"),
        ({"seed": 3}, "a", "2 configs and 1 different workdirs"),
        ({"loss__beta": -1.0}, "ab", "beta is -1.0"),
    ],
)
def test_bad_points_leave_no_folder_behind(tmp_path, changed, folders, message):
    workdirs = [tmp_path / name for name in folders]
    with pytest.raises(ValueError, match=message):
        population.train([tiny.config(), tiny.config(**changed)], workdirs)
    assert not any(workdir.exists() for workdir in workdirs)
