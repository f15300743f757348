"""What unlabelled images add: one network, trained with and without each term, equal steps.

python -m experiments.semi --config=configs/mnist.py:modern --workdir=runs/semi-mnist
python -m experiments.semi --config=configs/mnist.py:modern --labels=10 --bits=48 --seeds=1 \
  --rows="labels alone,all" --workdir=runs/semi-mnist

Every run is one of experiments.train, by `--launcher=vmap` (in this process, the default), `local`
or `slurm` of experiments.sweep. Each step of every row has the same number of labelled images; the
rows that use unlabelled ones have these in addition. The same command runs only what is not
finished; `--collect` makes the table and the plot of what there is: `semi.md`, `semi.csv`,
`semi-<bits>.png`.
"""

import sys
from collections.abc import Sequence

from absl import app, flags
from etils import epath
from ml_collections import ConfigDict, config_flags

from dsh_jax.data import splits
from dsh_jax.sweeps import ablation, comparison
from dsh_jax.sweeps.ablation import Setting
from dsh_jax.sweeps.sweep import check_points
from dsh_jax.training.records import read_metrics
from experiments import console, memory, sweep
from experiments.sweeps import runs as sweep_runs
from experiments.sweeps import status
from experiments.sweeps.runs import Run

_LABELS = flags.DEFINE_list(
    "labels", ["10", "60"], "Labelled rows of each class; below 1, the labelled share of all."
)
_BITS = flags.DEFINE_list("bits", ["24", "48"], "Lengths of the code.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each row.", 1)
_STEPS = flags.DEFINE_integer("steps", 1000, "Of the hashing stage, of every row.", 1)
_BATCH = flags.DEFINE_integer("batch", 128, "Images of a step with unlabelled ones.", 2)
_LABELLED = flags.DEFINE_integer("labelled", 32, "Labelled images of a step of every row.", 1)
_ROWS = flags.DEFINE_list("rows", None, "Some of the table's rows; all without it.")

OFF = {
    "loss.y": 0.0,
    "loss.z": 0.0,
    "loss.r": 0.0,
    "loss.bit_balance": 0.0,
    "semi.pseudo_label": 0.0,
    "semi.consistency": 0.0,
    "semi.similarity": 0.0,
}
REGULARIZERS = {"loss.y": 0.1, "loss.z": 0.1, "loss.bit_balance": 0.1}
DENOISING = {"loss.r": 1.0, "semi.noise": 0.1, "semi.reconstruction_end": 0.0}
TEACHER = {"semi.pseudo_label": 1.0, "semi.consistency": 1.0}
CONTROL = "labels alone"
ROWS: dict[str, dict[str, float | str]] = {
    CONTROL: {},
    "reconstruction": {"loss.r": 1.0},
    "autoencoder first": {"training.mode": "two_stage"},
    "regularizers": REGULARIZERS,
    "pseudo-labels": {"semi.pseudo_label": 1.0},
    "consistency": {"semi.consistency": 1.0},
    "balanced consistency": {"semi.consistency": 1.0, "loss.bit_balance": 1.0},
    "similarity": {"semi.similarity": 0.5},
    "pseudo-labels + consistency": TEACHER,
    "pseudo-labels + similarity": {"semi.pseudo_label": 1.0, "semi.similarity": 0.5},
    "all": REGULARIZERS | DENOISING | TEACHER,
}


def point_of(row: str, labels: str, bits: int, seed: int) -> dict:
    """Return the point of a run, in the form of a sweep's."""
    amount = float(labels)
    few = {"data.labels_per_class": int(amount)} if amount >= 1 else {"data.label_fraction": amount}
    batch, labelled, steps = _BATCH.value, _LABELLED.value, _STEPS.value
    point = {
        **few,
        "model.bits": bits,
        "seed": seed,
        "training.mode": "joint",
        "training.autoencoder_epochs": 0.0,
        "training.autoencoder_steps": steps // 2,
        "training.hashing_epochs": 0.0,
        "training.hashing_steps": steps,
        "training.batch_size": batch,
        "training.labelled_share": labelled / batch,
        "training.ema_decay": 0.99,
        # Once, at the end: the labels of many validation rows would choose among few labels' runs.
        "evaluation.validate_every_epochs": 0.0,
        "evaluation.validate_every_steps": 2 * steps,
        **OFF,
        **ROWS[row],
    }
    if row == CONTROL:
        point |= {"training.batch_size": labelled, "training.labelled_share": 1.0}
    return point


def metrics_of(one: Run) -> dict[str, float]:
    """Return the numbers of a finished run, its last training record's included.

    `eval_<database>/map` is there for every database, the protocol's own, too.
    """
    found: dict[str, float] = {}
    for record in read_metrics(one.folder / "metrics.jsonl"):
        found |= {name: value for name, value in record.items() if name != "step"}
    if found.get("train/confident"):
        found["train/confident_accuracy"] = (
            found.get("train/confident_right", 0.0) / found["train/confident"]
        )
    own = next(iter(splits.load(one.folder / "split.npz").databases()))
    found[f"eval_{own}/map"] = found["eval/map"]
    return found


def setting_of(row: str, labels: str, bits: int, runs: Sequence[Run]) -> Setting:
    """Return a row's results under one amount of labels and one length."""
    found, reasons = [], []
    for one in runs:
        record = status.read_record(one.name, one.point, one.folder.parent)
        if record.state == "finished":
            found.append(metrics_of(one) | {"seed": one.point["seed"]})
        else:
            reasons.append(record.reason or record.state)
    amount = float(labels)
    text = f"{int(amount)} per class" if amount >= 1 else f"{100 * amount:g} %"
    missing = f"{len(reasons)} runs without result, such as {reasons[0]}" if reasons else ""
    return Setting(row, text, amount, bits, found, missing)


def verdicts(settings: Sequence[Setting], metric: str) -> list[str]:
    """Return, for each amount and length, the best row and whether it is apart from the control."""
    said = []
    for labels, bits in dict.fromkeys((s.labels, s.bits) for s in settings):
        here = [s for s in settings if (s.labels, s.bits) == (labels, bits) and s.values(metric)]
        control = next((s for s in here if s.row == CONTROL), None)
        others = [s for s in here if s.row != CONTROL]
        if control is None or not others:
            continue
        best = max(others, key=lambda s: ablation.interval(s.values(metric))[0])
        apart = ablation.beats(best, control, metric)
        how = {True: "intervals apart", False: "intervals overlap", None: "too few seeds to tell"}
        mean, of_control = (ablation.interval(s.values(metric))[0] for s in (best, control))
        said.append(
            f"{labels}, {bits} bits: best other row is {best.row!r}, {mean:.4f} against "
            f"{of_control:.4f} of the labels alone ({how[apart]})"
        )
    return said


def write(workdir: epath.Path, name: str, settings: Sequence[Setting]) -> str:
    """Write the table and the plots; return the table as Markdown."""
    metric, ylabel = "eval_unseen/map", "mAP, tie-aware, database=unseen"
    if not any(setting.values(metric) for setting in settings):
        metric, ylabel = "eval/map", "mAP, tie-aware, the protocol's own database"
    cells = ablation.table(settings, control=CONTROL, metric=metric)
    lines = [f"- {text}" for text in verdicts(settings, metric)]
    lines += [f"- {s.row}, {s.labels}, {s.bits} bits: {s.missing}" for s in settings if s.missing]
    page = f"# {name}\n\nMean ± half of the 95 % interval over seeds (Student's t); "
    page += f"gain over {CONTROL!r}: {ylabel}.\n\n"
    page += comparison.to_markdown(cells) + "\n" + "\n".join(lines) + "\n"
    (workdir / "semi.md").write_text(page)
    (workdir / "semi.csv").write_text(comparison.to_csv(cells))
    for bits in dict.fromkeys(setting.bits for setting in settings):
        shown = [setting for setting in settings if setting.bits == bits]
        if any(setting.values(metric) for setting in shown):
            ablation.save_plot(
                workdir / f"semi-{bits}.png", f"{name}, {bits} bits", shown, metric, ylabel
            )
    return page


def run(config: ConfigDict, workdir: epath.Path, *, collect: bool) -> int:
    """Run what is missing, write the table; return the exit code."""
    rows = _ROWS.value or list(ROWS)
    if unknown := [row for row in rows if row not in ROWS]:
        raise ValueError(f"--rows has {unknown[0]!r}; known: {'; '.join(ROWS)}")
    if _LABELLED.value >= _BATCH.value:
        raise ValueError(
            f"--labelled is {_LABELLED.value} of a --batch of {_BATCH.value}: no room is left for "
            "unlabelled images; make it smaller."
        )
    flag = flags.FLAGS["config"]
    runs = {
        (row, labels, int(bits)): [
            sweep_runs.make_run(
                point_of(row, labels, int(bits), seed),
                workdir,
                python=sys.executable,
                config_file=config_flags.get_config_filename(flag),
                overrides=config_flags.get_override_values(flag),
            )
            for seed in range(_SEEDS.value)
        ]
        for labels in _LABELS.value
        for bits in _BITS.value
        for row in rows
    }
    every = [one for of_row in runs.values() for one in of_row]
    check_points(config.to_dict(), [one.point for one in every])
    if not collect:
        sweep.run_all(config, workdir, every)
    workdir.mkdir(parents=True, exist_ok=True)
    settings = [setting_of(*key, of_row) for key, of_row in runs.items()]
    print("\n" + write(workdir, config.data.name, settings), flush=True)
    print(f"table: {workdir / 'semi.md'}")
    return 1 if any(setting.missing for setting in settings) else 0


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    with console.clear_errors():
        if flags.FLAGS.config is None:
            raise ValueError("--config is missing, e.g. --config=configs/mnist.py:modern.")
        if flags.FLAGS.launcher == "print":
            raise ValueError("the table needs its runs: pass --launcher=local, slurm or vmap.")
        workdir = epath.Path(flags.FLAGS.workdir).expanduser()
        try:
            return run(flags.FLAGS.config, workdir, collect=flags.FLAGS.collect)
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on", flush=True)
            return console.REQUEUE


if __name__ == "__main__":
    flags.FLAGS.set_default("launcher", "vmap")
    memory.keep()
    console.run(main)
