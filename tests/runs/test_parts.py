"""What each part of a recipe is worth."""

import json

import pytest
from etils import epath

from configs import cifar10
from dsh_jax.runs import parts


def flat(config):
    return config.to_json_best_effort(sort_keys=True)


@pytest.mark.parametrize("row", list(parts.ROWS))
def test_each_row_changes_its_settings_alone(row):
    recipe = parts.config_of(cifar10.get_config("cpu"), parts.RECIPE)
    config = parts.config_of(cifar10.get_config("cpu"), row)
    assert "," not in row  # of --rows
    for name, value in parts.ROWS[row].items():
        group, field = name.split(".")
        assert recipe[group][field] != value
        assert config[group][field] == value
        config[group][field] = recipe[group][field]
    assert flat(config) == flat(recipe)


def finished(workdir, row, *, score, steps, last):
    folder = workdir / row.replace(" ", "-")
    (folder / "run").mkdir(parents=True)
    plan = {"row": row, "cost": 0.5, "steps": steps}
    (folder / "plan.json").write_text(json.dumps(plan))
    record = {"step": last, "valid/map": score, "valid/accuracy": 0.5}
    (folder / "run" / "metrics.jsonl").write_text(json.dumps(record) + "\n")


def test_the_table_has_the_finished_rows_best_first(tmp_path):
    finished(tmp_path, parts.RECIPE, score=0.8, steps=20, last=20)
    finished(tmp_path, "ReLU", score=0.9, steps=1000, last=1000)
    finished(tmp_path, "batches of 250", score=0.7, steps=10, last=5)
    cells = parts.table(epath.Path(tmp_path))
    assert cells[1:] == [
        ["ReLU", "0.9000", "+0.1000", "0.5000", "1,000", "0.50"],
        ["the recipe", "0.8000", "", "0.5000", "20", "0.50"],
    ]
