"""Evaluate a trained run again, on its own data and on others, or the codes of any program.

python -m experiments.evaluate --workdir=runs/mnist-48
python -m experiments.evaluate --workdir=runs/mnist-48 --on=configs/digits.py
python -m experiments.evaluate --workdir=runs/mnist-48 --views=6
python -m experiments.evaluate --codes=codes.npz --k=100,1000 --presets=hashnet@5000,orthohash
python -m experiments.evaluate --codes=runs/mnist-48/eval/5860.npz --cost

--on takes the config of another data set, and --on.data.data_dir=… and the like change its
settings: the run's network encodes the images, none of which it was trained on. The numbers go to
the run's eval/on_digits.json, and the report shows them.

--views averages the logits of several views of each image before a bit is read, see
evaluation.views in configs/default.py; the numbers stand in the place of the evaluation before.

--tsne puts t-SNE of 500 codes beside their principal components in the report.

--cost searches the codes with all of them compared, by hash tables and by FAISS, and says what each
finds of the 100 nearest, how many codes it compares and how long a query takes, on one core.

Which files --codes takes is said in `dsh_jax.evaluation.code_files.load`.
"""

import dataclasses
import inspect
import json
from collections.abc import Callable

import numpy as np
from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from dsh_jax import codes, plots
from dsh_jax.evaluation import code_files, results
from dsh_jax.evaluation.code_set import CodeSet
from dsh_jax.index import cost
from dsh_jax.methods.shallow import METHODS
from dsh_jax.metrics import presets
from dsh_jax.report import other_data
from dsh_jax.runs import cross_domain, evaluate, gallery
from dsh_jax.training import build
from dsh_jax.training.run_folder import read_config
from experiments import compiled, console

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_ON = config_flags.DEFINE_config_file(
    "on", None, "Config of another data set, which the run's network is evaluated on too."
)
_VIEWS = flags.DEFINE_integer("views", None, "Views of an image, in place of the run's own.")
_TSNE = flags.DEFINE_bool("tsne", False, "Show t-SNE of the codes in the report, too.")
_CODES = flags.DEFINE_string("codes", None, "File or folder of codes.")
_DATABASE = flags.DEFINE_string("database", "train", "Which database of an .npz file of codes.")
_BITS = flags.DEFINE_integer(
    "bits", None, "Bits of the codes, where their bytes do not say.", lower_bound=1
)
_K = flags.DEFINE_list("k", None, "Ranks of the precision at k, such as 100,1000.")
_PRESETS = flags.DEFINE_list(
    "presets", [], "mAP as others print it, such as hashnet@5000; see docs/metrics.md."
)
_OUT = flags.DEFINE_string("out", None, "Folder of the results; without it, next to the codes.")
_COST = flags.DEFINE_bool("cost", False, "Say what a search of the codes costs, and what it finds.")
_COST_QUERIES = flags.DEFINE_integer("cost_queries", 500, "Queries for that.", lower_bound=1)
_ALLOW_OVERLAP = flags.DEFINE_bool("allow_overlap", False, "Take queries that the database holds.")
OF_CODES = (
    *("database", "bits", "k", "presets", "out", "allow_overlap"),
    *("cost", "cost_queries"),
)
NEAREST = 100  # that --cost looks for

flags.mark_flags_as_mutual_exclusive(["workdir", "codes"], required=True)
flags.register_validator(
    "k",
    lambda ks: ks is None or all(k.isdigit() and int(k) for k in ks),
    message="pass whole numbers from 1, with commas between them",
)


def evaluate_run(folder: epath.Path) -> None:
    """Evaluate a run's best checkpoint; print its table and write its report.

    With --on, print the table of the other data set as well, and keep it in the run's folder.
    """
    unused = [name for name in OF_CODES if flags.FLAGS[name].present]
    if unused:
        raise ValueError(f"--{unused[0]} belongs to --codes; leave it out with --workdir")
    config = read_config(folder)
    if config.method in METHODS:
        raise ValueError(
            f"{folder} is a run of {config.method}, which fits features: it has no network to "
            "encode images with. Pass a run of another method."
        )
    if _VIEWS.value is not None:
        config.evaluation.views = _VIEWS.value
    described = build.build(config)
    # First: what is wrong with it is said at once.
    other = cross_domain.load_other(_ON.value, config, described) if _ON.value else None
    evaluation = evaluate.evaluate_run(config, described, folder)
    print(f"\n{results.table(evaluation.results, evaluation.code, evaluation.rows)}\n")
    if other:
        found = cross_domain.evaluate_on(other, _ON.value, config, described, evaluation)
        lines = [f"on {found.data}", *(f"{name}: {text}" for name, text in found.facts.items())]
        print("\n".join([*lines, "", results.metrics_table(found.metrics), ""]))
        logging.info("numbers: %s", other_data.save(folder, found))
    page = gallery.report_run(config, described, evaluation, folder, tsne=_TSNE.value)
    logging.info("report: %s", page)


def evaluate_codes(path: epath.Path) -> None:
    """Evaluate codes; print their table and write the numbers and plots."""
    found = code_files.load(
        path, database=_DATABASE.value, bits=_BITS.value, allow_overlap=_ALLOW_OVERLAP.value
    )
    print("\n".join(found.notes), flush=True)
    items = len(found.database_RxW)
    ks = [k for k in results.PRECISION_AT if k <= items] or [1]
    if _K.value:
        ks = sorted(int(k) for k in _K.value)
        if ks[-1] > items:
            raise ValueError(f"--k has {ks[-1]}, but the database {items} rows; pass 1 to {items}")
    arrays = (
        found.query_QxW,
        found.query_label_QxC,
        found.database_RxW,
        found.database_label_RxC,
    )
    others = [(f"mAP of {text}", *parse_preset(text)) for text in _PRESETS.value]
    result = results.retrieve(*arrays, bits=found.bits, precision_at=ks)
    for title, preset, depth in others:
        result.metrics[title] = preset(*arrays, bits=found.bits, **depth)
    bit_RxK = codes.unpack_bits(found.database_RxW, found.bits)
    health = codes.code_health(bit_RxK, bit_RxK)
    for title in ("bit_mean_min", "bit_mean_max", "bit_entropy", "dead_bits", "distinct_codes"):
        result.metrics[title] = health[title]
    name = f"database ({items:,})"
    print(f"\n{results.metrics_table({name: result.metrics})}\n")
    ending = "evaluation" if _DATABASE.value == "train" else f"{_DATABASE.value}-evaluation"
    out = epath.Path(_OUT.value or f"{path}-{ending}").expanduser()
    out.mkdir(parents=True, exist_ok=True)
    write_numbers(out / "metrics.json", path, found, result)
    title = f"{path.name} · {found.bits} bits · {len(found.query_QxW):,} queries"
    radii = plots.Curve(name, result.recall_D, result.precision_D)
    plots.save_lines(out / "precision_recall.png", title, [radii], **plots.PRECISION_RECALL)
    ranks = plots.precision_at(name, result.metrics)
    plots.save_lines(out / "precision_at_k.png", title, [ranks], **plots.PRECISION_AT)
    if _COST.value:
        write_costs(out, title, found)
    print(f"results: {out}")


def write_costs(out: epath.Path, title: str, found: CodeSet) -> None:
    """Print what searches cost; write the numbers and a plot."""
    rows = np.random.default_rng(0).permutation(len(found.query_QxW))[: _COST_QUERIES.value]
    k = min(NEAREST, len(found.database_RxW))
    measured = cost.costs(
        found.query_QxW[rows],
        found.query_label_QxC[rows],
        found.database_RxW,
        found.database_label_RxC,
        bits=found.bits,
        k=k,
    )
    print(f"{cost.table(measured)}\n")
    numbers = [dataclasses.asdict(one) for one in measured]
    (out / "cost.json").write_text(json.dumps(numbers, indent=2) + "\n")
    curves = []
    for method in dict.fromkeys(one.method for one in measured if one.compared < 1):
        of_method = [one for one in measured if one.method == method]
        x = np.array([max(one.compared, 1e-5) for one in of_method])
        curves.append(plots.Curve(method, x, np.array([one.recall for one in of_method])))
    plots.save_lines(out / "cost.png", title, curves, **cost_axes(k))


def cost_axes(k: int) -> dict:
    """Return the axes of the plot of costs."""
    return {
        "xlabel": "share of the codes that are compared",
        "xscale": "log",
        "ylabel": f"share of the {k} nearest that are found",
        "ylim": plots.SHARE,
    }


def parse_preset(text: str) -> tuple[Callable[..., float], dict[str, int]]:
    """Return the preset that `name` or `name@k` means, and its k."""
    name, _, k = text.partition("@")
    preset = presets.PRESETS.get(name)
    if preset is None:
        known = ", ".join(presets.PRESETS)
        raise ValueError(f"--presets has {name}; pass some of {known}, with @k for the first k")
    takes_k = "k" in inspect.signature(preset).parameters
    if k and not (takes_k and k.isdigit() and int(k)):
        wanted = "a whole number from 1 after @" if takes_k else f"{name} alone: it has no cut"
        raise ValueError(f"--presets has {text}; pass {wanted}")
    return preset, {"k": int(k)} if k else {}


def write_numbers(
    file: epath.Path, path: epath.Path, found: CodeSet, result: results.Result
) -> None:
    """Write all that is known of an evaluation of codes as JSON, NaN as null."""
    numbers = {
        "codes": str(path),
        "bits": found.bits,
        "queries": len(found.query_QxW),
        "database": len(found.database_RxW),
        "classes": found.query_label_QxC.shape[1],
        "notes": found.notes,
    }
    text = json.dumps(numbers | dataclasses.asdict(result), default=lambda array: array.tolist())
    # JSON has no NaN, the precision of a radius in which nothing lies.
    numbers = json.loads(text, parse_constant=lambda _: None)
    file.write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    with console.clear_errors():
        if _CODES.value:
            for name in ("on", "views", "tsne"):
                if flags.FLAGS[name].present:
                    raise ValueError(f"--{name} belongs to --workdir; leave it out with --codes")
            evaluate_codes(epath.Path(_CODES.value).expanduser().resolve())
        else:
            compiled.keep(_WORKDIR.value)
            evaluate_run(epath.Path(_WORKDIR.value))


if __name__ == "__main__":
    console.run(main)
