"""Train a network, then evaluate it and write its report.

python -m experiments.train --config=configs/mnist.py:modern --config.model.bits=48 \
    --workdir=runs/mnist-48

The same command goes on where a run was stopped. Asked to stop by SIGINT, SIGTERM, SIGUSR1 or
SIGUSR2, it saves and ends with exit code 85, on which a scheduler may start it again.
"""

import json

from absl import app, flags, logging
from ml_collections import config_flags

from experiments import console  # first: it quiets TensorFlow before its import

from dsh_jax import build, evaluate, gallery, train  # isort: skip
from dsh_jax.interruption import REQUEUE  # isort: skip

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config, e.g. configs/mnist.py:modern.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
flags.mark_flags_as_required(["config", "workdir"])


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    config, workdir = _CONFIG.value, _WORKDIR.value
    with console.clear_errors():
        described = build.build(config)
        if not train.train(config, workdir, described=described):
            return REQUEUE
        evaluation = evaluate.evaluate_run(config, described, workdir)
        page = gallery.report_run(config, described, evaluation, workdir)
    print(f"\n{evaluate.table(evaluation)}\n")
    print(json.dumps({"workdir": workdir, "map": evaluation.scalars()["eval/map"]}))
    logging.info("report: %s", page)
    return 0


if __name__ == "__main__":
    console.run(main)
