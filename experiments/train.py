"""Train a network, then evaluate it and write its report.

python -m experiments.train --config=configs/mnist.py:modern --config.model.bits=48 \
    --workdir=runs/mnist-48

The same command goes on where a run was stopped. Asked to stop by SIGINT, SIGTERM, SIGUSR1 or
SIGUSR2, it saves and ends with exit code 85, on which a scheduler may start it again.
"""

import json
import time

from absl import app, flags, logging
from ml_collections import config_flags

from experiments import compiled, console, memory

if __name__ == "__main__":  # now: the imports take long enough for a scheduler to change its mind
    console.requeue_when_asked()

from dsh_jax import parallel
from dsh_jax.evaluation import results
from dsh_jax.methods.shallow import METHODS
from dsh_jax.runs import evaluate, gallery, shallow, train
from dsh_jax.training import build

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config, e.g. configs/mnist.py:modern.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator", "", "host:port of process 0, for several processes without Slurm."
)
_PROCESSES = flags.DEFINE_integer("processes", 1, "How many processes; Slurm's are found.", 1)
_PROCESS = flags.DEFINE_integer("process", 0, "Number of this process.", 0)
_PROFILE = flags.DEFINE_integer("profile", 0, "Steps to trace for XProf, into workdir/profile.", 0)
flags.mark_flags_as_required(["config", "workdir"])


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    config, workdir = _CONFIG.value, _WORKDIR.value
    with console.clear_errors():
        if _PROCESSES.value > 1 and not _COORDINATOR.value:
            raise ValueError("--processes needs --coordinator=host:port, the same for all.")
        compiled.keep(workdir)
        parallel.connect(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
        if config.method in METHODS:
            source = build.load_source(config)
            ranked = shallow.run(config, source, build.load_split(config, source), workdir)
            print(shallow.summary(config, ranked))
            return 0
        started = time.monotonic()
        described = build.build(config)
        logging.info("data and network described in %.1f s", time.monotonic() - started)
        if not train.train(config, workdir, described=described, profile_steps=_PROFILE.value):
            parallel.disconnect()
            return console.REQUEUE
        evaluation = evaluate.evaluate_run(config, described, workdir)
        is_first = parallel.process_index() == 0
        if is_first:
            page = gallery.report_run(config, described, evaluation, workdir)
        parallel.wait_for_all("report")
        parallel.disconnect()
    if not is_first:
        return 0
    print(f"\n{results.table(evaluation.results, evaluation.code, evaluation.rows)}\n")
    print(json.dumps({"workdir": workdir, "map": evaluation.scalars()["eval/map"]}))
    logging.info("report: %s", page)
    return 0


if __name__ == "__main__":
    memory.keep()
    console.run(main)
