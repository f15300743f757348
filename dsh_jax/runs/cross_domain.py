"""A run's network on another data set: its images as the network takes them, and what is found."""

from __future__ import annotations

import dataclasses

import numpy as np
from ml_collections import ConfigDict

from dsh_jax.data.images import FittedImages
from dsh_jax.data.source import Source
from dsh_jax.evaluation import results
from dsh_jax.evaluation.encode import encode_rows
from dsh_jax.report.other_data import CrossDomain
from dsh_jax.runs import gallery
from dsh_jax.runs.evaluate import Evaluation
from dsh_jax.training import build

SHOWN = 5  # queries of a gallery


def load_other(config: ConfigDict, run_config: ConfigDict, run: build.Run) -> Source:
    """Return the images of another data set as a run's network takes them.

    Files are decoded straight to the network's size, other images resized from theirs.

    Args:
      config: of the other data set; only its `data` counts.
      run_config, run: of the run.

    Returns:
      Source, with the labels of the other data set.

    Raises:
      ValueError: for the data set that the run was trained on, or data that are not there.
    """
    config = config.copy_and_resolve_references()
    height, width, _ = run.source.images.shape
    if config.data.image_size and height == width:
        config.data.image_size = height
    source = build.load_source(config)
    fitted = FittedImages(source.images, run.source.images.shape)
    place, own_place = ((one.data.name, one.data.data_dir) for one in (config, run_config))
    # Names and labels alone could be those of changed images, which are other data.
    first = np.arange(min(10, len(source)))
    is_copy = source.fingerprint == run.source.fingerprint and np.array_equal(
        fitted.take(first), run.source.images.take(first)
    )
    if place == own_place or is_copy:
        raise ValueError(
            f"{source.name} is the data set that the run was trained on, so its queries could be "
            "training rows: pass the config of another data set, or none to evaluate the run on "
            "its own queries."
        )
    return dataclasses.replace(source, images=fitted)


def evaluate_on(
    source: Source,
    config: ConfigDict,
    run_config: ConfigDict,
    run: build.Run,
    evaluation: Evaluation,
) -> CrossDomain:
    """Evaluate a run's network on another data set, of which it has seen nothing.

    Queries and databases are those of the other set's own split: its `train` is only a name here.
    Some of its queries also look for neighbours in the run's database: no label is shared then, and
    there is nothing to count, only to look at.

    Args:
      source: from `load_other`.
      config: of the other data set; only its `data` counts.
      run_config, run, evaluation: of the run.

    Returns:
      CrossDomain.

    Raises:
      ValueError: for a split that the config does not give, see `build.load_split`.
    """
    split = build.load_split(config, source)
    rows = {"query": split.query, **split.databases()}
    every = np.unique(np.concatenate(list(rows.values())))
    # The network's classes are not those of these images: it is given none.
    unlabelled = dataclasses.replace(
        source,
        label_NxC=np.zeros((len(source), len(run.source.label_names)), np.uint8),
        label_names=run.source.label_names,
    )
    encoded = encode_rows(
        run.encoder,
        evaluation.variables,
        unlabelled,
        every,
        batch=run_config.evaluation.batch_size,
    )
    packed = {
        part: encoded.packed_NxW[np.searchsorted(every, part_rows)]
        for part, part_rows in rows.items()
    }
    label = {part: source.label_NxC[part_rows] for part, part_rows in rows.items()}
    ranked = results.rank(packed, label, bits=run_config.model.bits)
    first, own = next(iter(ranked)), next(iter(evaluation.results))
    rng = np.random.default_rng(config.data.split_seed)
    pick = np.sort(rng.permutation(len(split.query))[:SHOWN])
    query = source, split.query[pick], packed["query"][pick]
    size, fitted = ("×".join(map(str, one.shape)) for one in (source.images.images, source.images))
    counts = ", ".join(f"{part} {len(part_rows):,}" for part, part_rows in rows.items())
    return CrossDomain(
        data=source.name,
        step=evaluation.step,
        facts={
            "Data": f"{source.name}, protocol {config.data.protocol}",
            "Rows": f"{counts} (hash {split.hash}); the names are those of its own split",
            "Trained on": f"{run.source.name} alone: the run saw no image or label of these",
            "Images": f"{size} brought to {fitted}",
            "Chance level": f"mAP {ranked[first].metrics['chance']:.4f} for a random ranking",
        },
        metrics={f"database={part}": result.metrics for part, result in ranked.items()},
        galleries={
            f"{source.name} among {source.name}, database={first}": gallery.neighbours(
                *query, rows[first], packed[first]
            ),
            f"{source.name} among this run's {run.source.name}, database={own}": gallery.neighbours(
                *query,
                evaluation.rows[own],
                evaluation.encoded[own].packed_NxW,
                database=run.source,
            ),
        },
    )
