"""Run a config at many points: print the commands, run them here, or queue them in Slurm.

python -m experiments.sweep --config=configs/mnist.py:modern --workdir=runs/sweep \
    --sweep="model.bits=12,24,32,48;seed=0,1,2" --launcher=local --jobs=2 --gpus=0,1
python -m experiments.sweep --config=… --sweep=… --workdir=… --launcher=slurm --partition=gpu
python -m experiments.sweep --config=… --workdir=… --launcher=vmap \
    --sweep="optimizer.learning_rate=5e-4,1e-3,2e-3,4e-3;seed=0,1"
python -m experiments.sweep --config=… --workdir=runs/search --search=optuna --trials=50 \
    --sweep="optimizer.learning_rate=log_uniform,1e-4,1e-2;loss.z=0.0,0.1" --launcher=local
python -m experiments.sweep --workdir=runs/sweep --collect --against=model.bits

The same command again runs only what is not finished. `--config.sweep_kind=random
--config.sweep_points=20` draws points; see configs/default.py and dsh_jax/sweeps/sweep.py.
Ctrl-C lets local runs save; Slurm's go on, and the same command finds them. `vmap` trains runs that
differ in plain factors and seeds only (see `point.VARIED`) by one compiled program, the others
after one another.
"""

import math
import shlex
import signal
import sys
from collections.abc import Callable, Mapping

from absl import app, flags
from etils import epath
from ml_collections import ConfigDict, config_flags

from dsh_jax import plots
from dsh_jax.sweeps import run_table, sweep
from dsh_jax.training.run_folder import OF_SWEEPS
from experiments import console, memory
from experiments.sweeps import runs as sweep_runs
from experiments.sweeps import status
from experiments.sweeps.local import Local, gpus_of
from experiments.sweeps.runs import Launcher, Run
from experiments.sweeps.search import Search
from experiments.sweeps.slurm import Slurm
from experiments.sweeps.status import Table
from experiments.sweeps.together import Together

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config, e.g. configs/mnist.py:modern.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the sweep; each run has its own in it.")
_SWEEP = flags.DEFINE_string("sweep", None, "key=value,value;key=…, in place of config.sweep.")
_LAUNCHER = flags.DEFINE_enum(
    "launcher", "print", ["print", "local", "slurm", "vmap"], "What runs them."
)
_COLLECT = flags.DEFINE_bool("collect", False, "Write the table and plot of the runs' results.")
_AGAINST = flags.DEFINE_string("against", None, "Setting on the plot's axis; model.bits first.")
_JOBS = flags.DEFINE_integer("jobs", 1, "Local runs, or trials of a search, at a time.", 1)
_GPUS = flags.DEFINE_list("gpus", [], "GPUs that local runs get in turn; all: each has all.")
_SEARCH = flags.DEFINE_enum("search", None, ["optuna"], "Choose points by their validation mAP.")
_TRIALS = flags.DEFINE_integer("trials", 20, "Of a search, those before included.", 1)
_STUDY = flags.DEFINE_string("study", "search", "Name of the search in the workdir.")
_CLUSTER = flags.DEFINE_enum("cluster", "slurm", ["slurm", "local", "debug"], "submitit's engine.")
_PARTITION = flags.DEFINE_string("partition", None, "Of Slurm.")
_HOURS = flags.DEFINE_float("hours", 24.0, "Time limit of a job.", 0.01)
_NODES = flags.DEFINE_integer("nodes", 1, "Of a job, one process on each.", 1)
_GPUS_PER_NODE = flags.DEFINE_integer("gpus_per_node", None, "Of a job.", 0)
_CPUS = flags.DEFINE_integer("cpus", None, "Of each process of a job.", 1)
_MEM = flags.DEFINE_float("mem", None, "GB of memory on each node of a job.", 0.1)
_REQUEUE = flags.DEFINE_bool("requeue", True, "Queue jobs again that were asked to stop.")
_MAX_PARALLEL = flags.DEFINE_integer("max_parallel", 256, "Jobs at a time.", 1)
_EXTRA = flags.DEFINE_multi_string("slurm_extra", [], "Any other key=value of sbatch.")
_WAIT = flags.DEFINE_bool("wait", True, "Stay until Slurm's jobs end; a search always does.")
flags.mark_flags_as_required(["workdir"])

MOST_LINES = 8  # in a plot


def make_launcher(config: ConfigDict, workdir: epath.Path) -> Launcher:
    """Return the launcher that the flags describe."""
    if _LAUNCHER.value == "local":
        return Local(_JOBS.value, gpus_of(_GPUS.value, _JOBS.value))
    if _LAUNCHER.value == "vmap":
        return Together(config)
    extra = dict(pair.partition("=")[::2] for pair in _EXTRA.value)
    if _REQUEUE.value:
        extra["requeue"] = True
    wanted = {
        "name": "dsh_sweep",
        "timeout_min": math.ceil(60 * _HOURS.value),
        "nodes": _NODES.value,
        "tasks_per_node": 1,
        "cpus_per_task": _CPUS.value,
        "gpus_per_node": _GPUS_PER_NODE.value,
        "mem_gb": _MEM.value,
        "slurm_partition": _PARTITION.value,
        "slurm_array_parallelism": _MAX_PARALLEL.value,
        "slurm_additional_parameters": extra,
        # One process that dies ends the others, which would wait for it.
        "slurm_srun_args": ["--kill-on-bad-exit=1"],
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    return Slurm(workdir, cluster=_CLUSTER.value, parameters=given, requeue=_REQUEUE.value)


def run_maker(config: ConfigDict, workdir: epath.Path, python: str) -> Callable[[Mapping], Run]:
    """Return what makes the run of a point: the config file and every override typed here."""
    flag = flags.FLAGS["config"]
    typed = config_flags.get_override_values(flag)
    overrides = {key: value for key, value in typed.items() if key not in OF_SWEEPS}
    if config.sweep:
        overrides["sweep"] = ()  # the file's
    file = config_flags.get_config_filename(flag)

    def make(point: Mapping) -> Run:
        return sweep_runs.make_run(
            point, workdir, python=python, config_file=file, overrides=overrides
        )

    return make


def collect(workdir: epath.Path, points: Mapping[str, Mapping]) -> bool:
    """Write the table and the plot of a sweep; return whether every run is finished."""
    if not points:
        raise ValueError(f"{workdir} holds no sweep.json; give --config and --sweep, too.")
    records = [status.read_record(name, point, workdir) for name, point in points.items()]
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "sweep.csv").write_text(run_table.to_csv(records))
    (workdir / "sweep.md").write_text(run_table.to_markdown(records))
    print(f"\n{run_table.to_markdown(records)}")
    for record in records:
        if record.state == "failed":
            lines = status.log_lines(workdir / "logs" / f"{record.name}.log")[-5:]
            print("\n".join([f"{record.name}: {record.reason.partition(':')[0]}", *lines, ""]))
    key = _AGAINST.value or run_table.against_key(records)
    if key and any(record.state == "finished" for record in records):
        lines = run_table.curves(records, key)
        # Of random points each is a line by itself: no plot, unless one is asked for.
        is_plot = len(lines) <= MOST_LINES and max(len(line.x) for line in lines) > 1
        if _AGAINST.value or is_plot or len(lines) == 1:
            plots.save_lines(workdir / "sweep.png", f"mAP, {workdir.name}", lines, xlabel=key,
                             ylabel="mAP, tie-aware, whole ranking")  # fmt: skip
    print(f"table: {workdir / 'sweep.csv'}")
    return all(record.state == "finished" for record in records)


def run_all(config: ConfigDict, workdir: epath.Path, runs: list[Run]) -> None:
    """Run what is not finished, all at once in Slurm's queue, and show it until it ends."""
    waiting = [one for one in runs if not sweep_runs.is_finished(one, config)]
    launcher = make_launcher(config, workdir)
    sweep_runs.write_points(workdir, runs)
    if _LAUNCHER.value == "slurm" and not _WAIT.value:
        launcher.start(waiting)
        print(f"{len(waiting)} of {len(runs)} runs are in the queue; the same command shows them.")
        return

    def next_runs(free: int) -> list[Run]:
        new = waiting[:free]
        del waiting[:free]
        return new

    jobs = _JOBS.value if _LAUNCHER.value == "local" else max(len(runs), 1)
    table = Table(workdir, runs)
    sweep_runs.drive(launcher, next_runs, lambda one, how: None, jobs=jobs, show=table)


def launch(config: ConfigDict, workdir: epath.Path, points: list[sweep.Point]) -> int:
    """Run the points that are not finished; return the exit code."""
    make = run_maker(config, workdir, sys.executable)
    runs = [make(point) for point in points]
    run_all(config, workdir, runs)
    if _LAUNCHER.value == "slurm" and not _WAIT.value:
        return 0
    return 0 if collect(workdir, {one.name: one.point for one in runs}) else 1


def search(config: ConfigDict, workdir: epath.Path, space: sweep.Sweep) -> int:
    """Run an adaptive search; return the exit code."""
    if _LAUNCHER.value in ("print", "vmap"):
        raise ValueError("a search runs trial by trial: pass --launcher=local or slurm.")
    make = run_maker(config, workdir, sys.executable)
    launcher = make_launcher(config, workdir)
    sweep_runs.write_points(workdir, [])
    runs: list[Run] = []

    def make_checked(point: Mapping) -> Run:
        sweep.check_points(config.to_dict(), [point])
        one = make(point)
        if one.name not in [other.name for other in runs]:
            runs.append(one)
            sweep_runs.write_points(workdir, [one])
        return one

    asker = Search(
        space,
        trials=_TRIALS.value,
        study=_STUDY.value,
        seed=config.sweep_seed,
        workdir=workdir,
        make=make_checked,
        is_finished=lambda one: sweep_runs.is_finished(one, config),
    )
    table = Table(workdir, runs)
    sweep_runs.drive(launcher, asker.next_runs, asker.ended, jobs=_JOBS.value, show=table)
    finished = collect(workdir, sweep_runs.read_points(workdir))
    print(asker.best())
    return 0 if finished else 1


def run(config: ConfigDict | None, workdir: epath.Path) -> int:
    """Do what the flags say; return the exit code."""
    if config is None:
        if not _COLLECT.value:
            raise ValueError("--config is missing; only --collect goes without.")
        collect(workdir, sweep_runs.read_points(workdir))
        return 0
    pairs = sweep.parse_sweep(_SWEEP.value) if _SWEEP.value else config.sweep
    if _SEARCH.value:
        return search(config, workdir, pairs)
    points = sweep.expand_sweep(
        pairs, kind=config.sweep_kind, points=config.sweep_points, seed=config.sweep_seed
    )
    sweep.check_points(config.to_dict(), points)
    if _COLLECT.value:
        collect(workdir, {sweep.run_name(point): point for point in points})
        return 0
    if _LAUNCHER.value == "print":
        make = run_maker(config, workdir, "python")
        print("\n".join(shlex.join(make(point).command) for point in points))
        return 0
    return launch(config, workdir, points)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    with console.clear_errors():
        try:
            return run(_CONFIG.value, epath.Path(_WORKDIR.value).expanduser())
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on", flush=True)
            return console.REQUEUE


if __name__ == "__main__":
    memory.keep()
    console.run(main)
