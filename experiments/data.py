"""Show what a run would train on, before it trains.

python -m experiments.data --config=configs/mirflickr.py --config.data.data_dir=/data/mirflickr
python -m experiments.data --config=… --write_lists=lists

Prints what was read, left out and counted, the rows of each class in each part, labels that go
together, the chance level, and the speed of the input. Writes into --out: contact sheets of images
and of their augmentation, the co-occurrence of labels, the split, and everything printed.
"""

import itertools
import json
import time

import jax
import numpy as np
from absl import app, flags
from etils import epath
from ml_collections import ConfigDict, config_flags

from dsh_jax import parallel, plots
from dsh_jax.data import pipeline, splits, summary
from dsh_jax.data.files import SKIPPABLE, parse_skip, reasons_of
from dsh_jax.data.images import FileImages
from dsh_jax.data.lists import write_lists
from dsh_jax.data.source import Source
from dsh_jax.report import contact_sheet
from dsh_jax.training import build
from dsh_jax.training.stages import augmentation
from experiments import console

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config, e.g. configs/mirflickr.py.")
_OUT = flags.DEFINE_string("out", None, "Folder of the pictures; runs/data/<name> without it.")
_LISTS = flags.DEFINE_string("write_lists", None, "Folder for list files of the split.")
_SECONDS = flags.DEFINE_float("seconds", 5.0, "How long to read images for their speed.", 0.0)
_IMAGES = flags.DEFINE_integer("images", 64, "Images on the contact sheet.", lower_bound=1)
flags.mark_flags_as_required(["config"])


def load(config: ConfigDict) -> tuple[Source, list[str]]:
    """Return the source without its bad files, and lines that name them all.

    A run would stop at the first kind of bad file that `data.skip` does not have; here all kinds
    are looked for at once.
    """
    allowed = parse_skip(config.data.skip)
    config = config.copy_and_resolve_references()
    config.data.skip = ",".join(SKIPPABLE)
    source = build.load_source(config)
    lines = []
    for kind, names in source.left_out.items():
        stops = "" if kind in allowed else f"; a run stops at them, unless data.skip has {kind}"
        lines.append(f"{len(names):,} {kind}{stops}:")
        if kind == "corrupt":
            root = str(epath.Path(config.data.data_dir).expanduser())
            files = FileImages(root, np.array(names), side=config.data.image_size)
            names = reasons_of(files, np.arange(len(names)))
        lines += [f"  {name}" for name in names]
    return source, lines


def input_speed(config: ConfigDict, source: Source, split: splits.Split, seconds: float) -> str:
    """Return a line on how fast batches come, after a first one."""
    batch, devices = config.training.batch_size, parallel.device_count()
    batches = pipeline.train_batches(
        source,
        split.labelled,
        split.unlabelled,
        batch=batch,
        labelled_share=config.training.labelled_share,
        devices=devices,
        seed=config.seed,
        start_step=0,
        stop_step=1_000_000,
    )
    next(batches)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        next(batches)
        count += batch
    rate = count / (time.perf_counter() - started)
    epoch = len(split.train) / rate
    return f"input: {rate:,.0f} images/s in batches of {batch}, an epoch takes {epoch:,.1f} s"


def write_sheets(config: ConfigDict, source: Source, split: splits.Split, out: epath.Path) -> None:
    """Write contact sheets of training images and of their augmentation."""
    rng = np.random.default_rng(config.data.split_seed)
    rows = np.sort(rng.permutation(split.train)[: _IMAGES.value])
    captions = [
        ", ".join(source.label_names[c] for c in np.flatnonzero(source.label_NxC[row]))
        or "no label"
        for row in rows
    ]
    contact_sheet.contact_sheet(source.images.take(rows), captions).save(out / "images.png")
    sheet = contact_sheet.augmentation_sheet(
        augmentation(config), jax.random.PRNGKey(config.seed), source.images.take(rows[:8])
    )
    sheet.save(out / "augmented.png")


def describe(config: ConfigDict, out: epath.Path) -> list[str]:
    """Write the pictures and the split, and return the lines to print."""
    source, bad = load(config)
    split = build.load_split(config, source)
    splits.save(split, out / "split.npz")
    if _LISTS.value:
        parts = {"train": split.labelled, "database": split.database, "query": split.query}
        write_lists(source, parts, _LISTS.value)
    height, width, channels = source.images.shape
    database, query = source.label_NxC[split.database], source.label_NxC[split.query]
    level = summary.chance(query, database)
    lines = [
        f"{source.name}: {len(source):,} images of {height}×{width}×{channels}, "
        f"{len(source.label_names)} labels, data {source.fingerprint}",
        *source.notes,
        *bad,
        f"protocol {config.data.protocol}: {split.describe()}",
        *split.notes,
        "",
        summary.counts_table(source, split),
        "",
        f"chance level: mAP {level:.4f} for a random ranking of the protocol's database",
    ]
    if source.multilabel:
        lines += [
            "labels that go together:",
            summary.pairs_table(source.label_NxC, source.label_names),
        ]
        title = f"{source.name}: of the images with the row's label, the share with the column's"
        given = summary.co_occurrence(source.label_NxC)
        plots.save_matrix(out / "labels.png", title, given, source.label_names, "share")
    lines.append(input_speed(config, source, split, _SECONDS.value))
    write_sheets(config, source, split, out)
    numbers = {
        "name": source.name,
        "data": source.fingerprint,
        "split": split.hash,
        "protocol": config.data.protocol,
        "chance": level,
        "classes": source.label_names,
        "rows": {part: len(getattr(split, part)) for part in splits.PARTS},
        "rows_of_class": {k: v.tolist() for k, v in summary.class_counts(source, split).items()},
        "left_out": source.left_out,
        "notes": [*source.notes, *split.notes],
    }
    (out / "data.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")
    return lines


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    config = _CONFIG.value
    out = epath.Path(_OUT.value or f"runs/data/{config.data.name}").expanduser()
    with console.clear_errors():
        out.mkdir(parents=True, exist_ok=True)
        lines = describe(config, out)
    (out / "data.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(itertools.chain(lines, [f"pictures, split and this text: {out}"])))


if __name__ == "__main__":
    console.run(main)
