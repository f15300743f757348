"""What each part of a recipe is worth: trainings of equal time, each without one part.

python -m experiments.parts --config=configs/cifar10.py:cpu --config.model.width=0.25 \
  --steps=300 --workdir=runs/parts
python -m experiments.parts --config=configs/cifar10.py:cpu --rows="the recipe,whitening" \
  --workdir=runs/parts

A row's step is timed first, in turns with the recipe's own; then the row is trained for as many as
take the time of --steps of the recipe. What is shown is of validation rows; no query is read. The
same command goes on where it was stopped, each row for the steps that it began with, and after each
prints the table of all rows that are done in the folder; several may work in it, with other --rows.
"""

import os
import sys

from absl import app, flags
from etils import epath
from ml_collections import config_flags

from dsh_jax.runs import parts
from dsh_jax.sweeps.comparison import to_markdown
from experiments import compiled, console, memory

_CONFIG = config_flags.DEFINE_config_file("config", None, "E.g. configs/cifar10.py:cpu.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the trainings.")
_STEPS = flags.DEFINE_integer("steps", 300, "Of the recipe; the time of each row.", 1)
_ROWS = flags.DEFINE_list("rows", None, "Some of the table's rows; all without it.")
flags.mark_flags_as_required(["config", "workdir"])


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    with console.clear_errors():
        base, workdir = _CONFIG.value, epath.Path(_WORKDIR.value).expanduser()
        if base.training.mode != "joint":
            raise ValueError(
                f"training.mode is {base.training.mode}: a recipe of one stage is taken apart, "
                "pass --config.training.mode=joint"
            )
        rows = _ROWS.value or list(parts.ROWS)
        if unknown := [row for row in rows if row not in parts.ROWS]:
            raise ValueError(f"--rows has {unknown[0]!r}; known: {'; '.join(parts.ROWS)}")
        compiled.keep(workdir)
        row, *others = rows
        folder = workdir / "".join(c if c.isalnum() else "-" for c in row)
        if not parts.train_row(base, folder, row, _STEPS.value):
            print("\nstopped; the same command goes on", flush=True)
            return console.REQUEUE
        print("\n" + to_markdown(parts.table(workdir)), flush=True)
        if others:  # in a program that starts anew: what is kept of a row's memory fits no other
            os.execv(sys.executable, [*sys.orig_argv, f"--rows={','.join(others)}"])
    return 0


if __name__ == "__main__":
    memory.keep()
    console.run(main)
