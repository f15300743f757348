"""The command that takes a recipe apart."""

import json

from commands import SMALL, command, fresh


def test_the_command_trains_what_is_missing(tmp_path):
    small = [f"--config.{name}={value}" for name, value in SMALL.items()]
    flags = ["--config=configs/digits.py:smoke", *small, "--steps=3", f"--workdir={tmp_path}"]
    first = command("parts", *flags, "--rows=the recipe")
    assert first.returncode == 0, first.stderr
    plan = json.loads((tmp_path / "the-recipe" / "plan.json").read_text())
    assert plan == {"row": "the recipe", "cost": 1.0, "steps": 3}
    # It starts itself anew for the second row.
    again = fresh("parts", *flags, "--rows=the recipe,average of weights (.99)")
    lines = [line for line in again.stdout.splitlines() if line.startswith("|")]
    assert len(lines) == 3 + 4  # a table after each row
    assert json.loads((tmp_path / "the-recipe" / "plan.json").read_text()) == plan
    other = json.loads((tmp_path / "average-of-weights---99-" / "plan.json").read_text())
    assert other["steps"] == max(1, round(3 / other["cost"]))
    bad = command("parts", *flags, "--rows=the recipe,dropout")
    assert bad.returncode == 1
    assert "--rows has 'dropout'; known: the recipe; whitening" in bad.stderr
