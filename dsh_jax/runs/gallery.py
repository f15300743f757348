"""What a run retrieved and rebuilt, as pictures for its report."""

from __future__ import annotations

import datetime
from typing import Any

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict
from PIL import Image

from dsh_jax import codes, plots, retrieval
from dsh_jax.augment import pad_small
from dsh_jax.data.source import Source
from dsh_jax.evaluation import confusion
from dsh_jax.evaluation.by_class import by_class
from dsh_jax.network import backbones
from dsh_jax.network.backbones import BACKBONES
from dsh_jax.network.pretrained import FEATURES
from dsh_jax.report import code_statistics, contact_sheet, other_data
from dsh_jax.report.document import write_report
from dsh_jax.report.images import Gallery, Rebuilt
from dsh_jax.runs import reconstruction
from dsh_jax.runs.evaluate import Evaluation
from dsh_jax.training import build, stages
from dsh_jax.training.records import read_metrics
from dsh_jax.training.run_folder import environment
from dsh_jax.training.writers import make_writer


def neighbours(
    source: Source,
    query_rows: np.ndarray,
    query_QxW: np.ndarray,
    database_rows: np.ndarray,
    database_RxW: np.ndarray,
    *,
    count: int = 10,
    database: Source | None = None,
) -> Gallery:
    """Return queries with their nearest database images.

    Args:
      source: images and labels.
      query_rows: row numbers [Q].
      query_QxW: their packed codes.
      database_rows: row numbers [R].
      database_RxW: their packed codes.
      count: neighbours of each query, at most R.
      database: images and labels of the database, where they are another data set's: then nothing
        is said of relevance.

    Returns:
      Gallery; ties go to the lower database index.
    """
    distance, index = retrieval.search(query_QxW, database_RxW, min(count, len(database_rows)))
    found = database_rows[np.asarray(index)]
    relevant, label = None, source.label_NxC
    if database is None:
        database, relevant = source, (label[query_rows][:, None] * label[found]).sum(-1) > 0
    return Gallery(
        query_image=source.pictures.take(query_rows),
        query_label=[names(source, row) for row in query_rows],
        neighbour_image=database.pictures.take(found),
        neighbour_label=[[names(database, row) for row in line] for line in found],
        distance=np.asarray(distance),
        relevant=relevant,
    )


def names(source: Source, row: int) -> str:
    """Return the labels of a row as text."""
    return ", ".join(source.label_names[c] for c in np.flatnonzero(source.label_NxC[row]))


def neighbour_sheet(gallery: Gallery) -> Image.Image:
    """Return a sheet with a row for each query: the query, then its neighbours with distances.

    Args:
      gallery: of some queries.

    Returns:
      An RGB image of Pillow.
    """
    image = np.concatenate([gallery.query_image[:, None], gallery.neighbour_image], axis=1)
    captions = [
        caption
        for i, label in enumerate(gallery.query_label)
        for caption in (
            label,
            *(
                f"{'✓' if right else '✗'} {distance}"
                for right, distance in zip(gallery.relevant[i], gallery.distance[i], strict=True)
            ),
        )
    ]
    return contact_sheet.contact_sheet(
        image.reshape(-1, *image.shape[2:]), captions, columns=image.shape[1]
    )


def reconstructions(
    described: build.Run, variables: Any, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return images as the network sees them, and as its decoder rebuilds them.

    Args:
      described: the run.
      variables: of the network, see `reconstruction.intact`.
      rows: row numbers.

    Returns:
      (original, decoded), uint8 [n, H, W, C].
    """
    image_NxHxWxC = described.source.images.take(rows)
    decoded = reconstruction.rebuild(described.model, variables, image_NxHxWxC)
    return np.asarray(pad_small(image_NxHxWxC)), np.asarray(decoded)


def augmented(
    config: ConfigDict, described: build.Run, rows: np.ndarray, *, draws: int = 7
) -> np.ndarray | None:
    """Return images with random draws of the run's augmentation.

    Args:
      config: of the run.
      described: the run.
      rows: row numbers.
      draws: of each image.

    Returns:
      uint8 [n, 1 + draws, H, W, C], the originals first, or None where nothing changes them.
    """
    image_NxTxHxWxC = contact_sheet.draws(
        stages.augmentation(config),
        jax.random.key(config.seed),
        described.source.pictures.take(rows),
        draws,
    )
    return image_NxTxHxWxC if (image_NxTxHxWxC != image_NxTxHxWxC[:, :1]).any() else None


def pick_queries(
    ap_Q: np.ndarray, rng: np.random.Generator, *, count: int = 10
) -> dict[str, np.ndarray]:
    """Return which queries a report shows.

    Args:
      ap_Q: their average precisions.
      rng: draws some.
      count: of each kind, at most Q; half as many of the best, which look alike.

    Returns:
      Title to positions: at random, in their order; with the lowest and with the highest average
      precision, the extreme ones first, equal ones in their order.
    """
    return {
        "Queries drawn at random": np.sort(rng.permutation(len(ap_Q))[:count]),
        "Queries with the lowest average precision": np.argsort(ap_Q, kind="stable")[:count],
        "Queries with the highest average precision": np.argsort(-ap_Q, kind="stable")[
            : -(-count // 2)
        ],
    }


def features_in_words(config: ConfigDict) -> str:
    """Return where the features come from that a run begins with, or "" for none.

    Args:
      config: of the run.
    """
    if config.model.encoder == FEATURES:
        return f"of {config.data.features_path}"
    if config.model.encoder not in BACKBONES:
        return ""
    said = backbones.provenance(config.model.encoder, config.model.weights)
    how = "frozen" if config.training.freeze == "backbone" else "trained further"
    return (
        f"{said['network']}, {how}; {said['file']}, licence {said['licence']}, SHA-256 "
        f"{said['sha256'][:16]}"
    )


def report_run(
    config: ConfigDict,
    described: build.Run,
    evaluation: Evaluation,
    workdir: epath.PathLike,
    *,
    tsne: bool = False,
) -> epath.Path:
    """Write `report.html` of a run: numbers, curves, and pictures of what went in and came out.

    Args:
      config: of the run.
      described: what `build.build` made of it.
      evaluation: of the run.
      workdir: the run's folder.
      tsne: whether t-SNE of the codes stands beside their principal components.

    Returns:
      The path of the page.
    """
    folder = epath.Path(workdir).expanduser().resolve()
    source, split = described.source, described.split
    query = evaluation.encoded["query"].packed_NxW
    headline = next(iter(evaluation.results))
    rng = np.random.default_rng(config.data.split_seed)
    picks = pick_queries(evaluation.results[headline].ap_Q, rng)
    galleries = {
        title: neighbours(
            source,
            split.query[pick],
            query[pick],
            evaluation.rows[headline],
            evaluation.encoded[headline].packed_NxW,
        )
        for title, pick in picks.items()
    }
    rebuilt = None
    intact = reconstruction.intact(
        config, described, folder, step=evaluation.step, variables=evaluation.variables
    )
    if intact is not None:
        original, decoded = reconstructions(
            described, intact.variables, split.query[picks["Queries drawn at random"]]
        )
        rebuilt = Rebuilt(original, decoded, intact.words)
    trained = rng.choice(split.train, min(6, len(split.train)), replace=False)
    results = {f"database={part}": result for part, result in evaluation.results.items()}
    numbers = {title: dict(result.metrics) for title, result in results.items()}
    # The accuracy beside the mAP, what is said of bits beside their figure.
    of_bits = dict(evaluation.code)
    for name in ("accuracy", "accuracy_by_bits"):
        if name in of_bits:
            numbers[f"database={headline}"][name] = of_bits.pop(name)
    bits, database = config.model.bits, evaluation.encoded[headline].packed_NxW
    of_bits |= code_statistics.bit_statistics(
        codes.unpack_bits(query, bits), evaluation.encoded["query"].bcoding_NxK
    )
    label = {part: source.label_NxC[rows] for part, rows in evaluation.rows.items()}
    drawn = rng.permutation(len(database))[:500]
    planes = [
        code_statistics.plane(
            codes.unpack_bits(database[drawn], bits),
            label[headline][drawn],
            source.label_names,
            tsne=way,
        )
        for way in ((False, True) if tsne else (False,))
    ]
    sheets = {title: neighbour_sheet(gallery) for title, gallery in galleries.items()}
    if rebuilt is not None:
        both = np.concatenate([rebuilt.original, rebuilt.decoded])
        sheets["Originals above, reconstructions below"] = contact_sheet.contact_sheet(
            both, columns=len(rebuilt.original)
        )
    writer = make_writer(folder, keep=lambda record: True)
    writer.write_images(evaluation.step, {k: np.asarray(v) for k, v in sheets.items()})
    writer.close()
    made = environment()
    path = folder / "report.html"
    write_report(
        path,
        title=f"{source.name} · {config.model.bits} bits · {config.variant}",
        summary={
            "Data": f"{source.name}, protocol {config.data.protocol}",
            "Split": split.describe(),
            **({"Features": words} if (words := features_in_words(config)) else {}),
            **({"Counted": " ".join(notes)} if (notes := (*source.notes, *split.notes)) else {}),
            "Checkpoint": f"step {evaluation.step}, the best by validation mAP",
            "Chance level": f"mAP {evaluation.results[headline].metrics['chance']:.4f} "
            "for a random ranking",
            "Devices": ", ".join(made["devices"]),
            "Commit": made["commit"],
            "Written": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        },
        metrics=numbers,
        precision_recall=[
            plots.Curve(title, result.recall_D, result.precision_D)
            for title, result in results.items()
        ],
        precision_at=[
            plots.precision_at(title, result.metrics) for title, result in results.items()
        ],
        by_class=by_class(evaluation.results[headline].ap_Q, label["query"], source.label_names),
        confusion=confusion.of_codes(
            (query, label["query"]),
            (database, label[headline]),
            source.label_names,
            bits=bits,
            title=f"database={headline}",
        ),
        planes=[plane for plane in planes if plane is not None],
        bit_mean=evaluation.bit_mean_K,
        bits=of_bits,
        galleries=galleries,
        cross_domain=other_data.load(folder, evaluation.step),
        rebuilt=rebuilt,
        augmented=augmented(config, described, np.sort(trained)),
        history=[
            record
            for record in read_metrics(folder / "metrics.jsonl")
            if any(name.startswith(("train/", "valid/")) for name in record)
        ],
        config=config.to_dict(),
    )
    return path
