"""A folder holds one run, and says so; its records survive a machine that stopped."""

import json

import jax.numpy as jnp
import pytest
import tiny
from etils import epath

from dsh_jax.training import run_folder, writers
from dsh_jax.training.records import check_finite, read_metrics
from dsh_jax.training.run_folder import check_config, flatten, open_run
from dsh_jax.training.writers import JsonLines


def always(record):
    return True


def test_flatten_joins_keys_by_dots():
    nested = {"a": 1, "b": {"c": 2.0, "d": {"e": "x"}}, "empty": {}}
    assert flatten(nested) == {"a": 1, "b.c": 2.0, "b.d.e": "x"}


def test_tuples_are_the_lists_that_json_makes_of_them():
    assert flatten({"a": (1, 2)}) == {"a": [1, 2]}
    check_config({"a": [1, 2]}, {"a": (1, 2)}, epath.Path("runs/one"))


def test_every_setting_that_differs_is_named():
    saved = {"model": {"bits": 12, "width": 1.0}, "gone": 3}
    wanted = {"model": {"bits": 48, "width": 1.0}, "new": None}
    message = (
        r"runs/one holds another run; 3 settings differ: gone: was 3, now 'absent'; "
        r"model\.bits: was 12, now 48; new: was 'absent', now None\. Repeat its command"
    )
    with pytest.raises(ValueError, match=message):
        check_config(saved, wanted, epath.Path("runs/one"))


def test_new_run_writes_config_and_environment(tmp_path):
    folder = open_run(tiny.config(), tmp_path / "new" / "run")
    config = json.loads((folder / "config.json").read_text())
    assert config["model"]["bits"] == 12
    environment = json.loads((folder / "environment.json").read_text())
    assert environment.keys() == {"python", "packages", "commit", "backend", "devices"}
    assert environment["packages"].keys() >= {"jax", "flax", "optax", "numpy"}
    assert environment["backend"] == "cpu"
    assert len(environment["devices"]) == 4


def test_run_is_reopened_by_its_own_config(tmp_path):
    folder = open_run(tiny.config(), tmp_path)
    assert open_run(tiny.config(), tmp_path) == folder


def test_run_of_another_config_is_left_alone(tmp_path):
    folder = open_run(tiny.config(), tmp_path)
    before = (folder / "config.json").read_text()
    with pytest.raises(ValueError, match=r"1 settings differ: model\.bits: was 12, now 24\."):
        open_run(tiny.config(model__bits=24), tmp_path)
    assert (folder / "config.json").read_text() == before


def test_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=r"holds files but no config\.json, so it is no run of"):
        open_run(tiny.config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_relative_folder_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_run(tiny.config(), "run") == epath.Path(tmp_path / "run").resolve()


def test_commit_is_unknown_where_there_is_no_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert run_folder.environment()["commit"] == "unknown"


def test_a_record_a_line(tmp_path):
    writer = JsonLines(tmp_path / "metrics.jsonl", always)
    writer.write_scalars(1, {"loss": jnp.float32(0.5)})
    writer.write_scalars(2, {"loss": 1})
    writer.write_images(2, {})
    writer.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": 1.0},
    ]


def test_only_records_to_keep_are_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = JsonLines(path, always)
    for step in (1, 2, 3):
        writer.write_scalars(step, {"loss": step})
    JsonLines(path, lambda record: record["step"] <= 2).write_scalars(3, {"loss": 30})
    assert [record["loss"] for record in read_metrics(path)] == [1, 2, 30]


def test_a_last_line_cut_short_is_dropped_and_written_over(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]
    JsonLines(path, always).write_scalars(2, {"loss": 1.5})
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}]


def test_no_file_gives_no_records(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_writer_fills_both_files(tmp_path):
    writer = writers.make_writer(epath.Path(tmp_path), always)
    writer.write_scalars(1, {"loss": 0.5})
    writer.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 0.5}]
    assert list((tmp_path / "tensorboard").iterdir())


def test_finite_metrics_become_floats():
    assert check_finite(1, {"loss": jnp.float32(0.5), "balance": 0}) == {"loss": 0.5, "balance": 0}


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"loss": float("nan"), "balance": float("inf"), "x": 1.0}, "step 3: balance is inf. "),
        ({"loss": float("inf"), "balance": 0.5}, "step 3: loss is inf. "),
        ({"loss": 0.5, "gradient_norm": float("nan")}, "step 3: gradient_norm is nan. "),
    ],
)
def test_a_term_that_is_not_finite_is_named(metrics, message):
    with pytest.raises(FloatingPointError, match=message):
        check_finite(3, metrics)


def test_a_run_of_an_earlier_version_can_be_read_but_not_resumed(tmp_path):
    config = tiny.config()
    saved = json.loads(json.dumps(config.to_dict()))
    del saved["training"]["freeze"], saved["deep"]["pairwise"]
    saved["optimizer"]["weight_decay_kernels"] = "all"
    (tmp_path / "config.json").write_text(json.dumps(saved))
    found = run_folder.read_config(epath.Path(tmp_path))
    assert flatten(found.to_dict()) == flatten(config.to_dict())
    with pytest.raises(ValueError, match=r"weight_decay_kernels: was 'all', now 'trained'"):
        open_run(config, tmp_path)
