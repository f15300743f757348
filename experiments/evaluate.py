"""Evaluate a trained run again: python -m experiments.evaluate --workdir=runs/mnist-48"""

import json

from absl import app, flags, logging
from etils import epath
from ml_collections import ConfigDict

from experiments import console  # first: it quiets TensorFlow before its import

from dsh_jax import build, evaluate, gallery  # isort: skip

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
flags.mark_flag_as_required("workdir")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    folder = epath.Path(_WORKDIR.value)
    with console.clear_errors():
        if not (folder / "config.json").exists():
            raise ValueError(f"{folder} holds no config.json: it is no run of experiments.train.")
        config = ConfigDict(json.loads((folder / "config.json").read_text()))
        described = build.build(config)
        evaluation = evaluate.evaluate_run(config, described, folder)
        page = gallery.report_run(config, described, evaluation, folder)
    print(f"\n{evaluate.table(evaluation)}\n")
    logging.info("report: %s", page)


if __name__ == "__main__":
    console.run(main)
