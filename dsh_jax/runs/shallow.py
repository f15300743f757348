"""Runs of shallow methods: features, one fit, and the evaluation of any other run."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import codes, parallel
from dsh_jax.data import splits
from dsh_jax.data.source import Source
from dsh_jax.evaluation import results
from dsh_jax.methods import adsh, bihalf, features, itq, lsh, sdh
from dsh_jax.methods.features import gist, matconvnet, vggf
from dsh_jax.methods.shallow import METHODS, SUPERVISED
from dsh_jax.network.backbones import BACKBONES
from dsh_jax.training import backbone
from dsh_jax.training.lock import locked
from dsh_jax.training.run_folder import open_run
from dsh_jax.training.writers import make_writer


@dataclasses.dataclass(frozen=True)
class Ranked:
    """What the evaluation of a shallow method gives.

    Attributes:
      results: name of the database to `results.Result`, the protocol's own first.
      code: health of the queries' codes, see `codes.code_health`.
      rows: `query`, and the name of each database, to its row numbers.
    """

    results: Mapping[str, results.Result]
    code: Mapping[str, float]
    rows: Mapping[str, np.ndarray]

    def scalars(self) -> dict[str, float]:
        """Return every number by its name in `metrics.jsonl`."""
        return results.named(self.results, self.code)


def features_of(
    source: Source,
    *,
    kind: str,
    path: str = "",
    side: int = 0,
    cache_dir: str = "",
    batch: int = 500,
) -> np.ndarray:
    """Return the features of every row of a source.

    Args:
      source: images.
      kind: `pixels` (in [0, 1], as they are, not padded), `gist`, `vggf`, one of
        `backbones.BACKBONES`, or `file`.
      path: of `vggf`, the weights, see `matconvnet.load_vggf`; of a pretrained network, its weights
        in place of its package's; of `file`, an .npy with a row for each of the source's, see
        `features.load_features`.
      side, cache_dir: of a pretrained network, see `backbone.backbone_features`.
      batch: images at a time.

    Returns:
      feature_NxD, float32.

    Raises:
      ValueError: for another kind, no or bad weights, or a file of other rows.
    """
    # A frozen backbone's features may stand in the images' place; each kind looks at the images.
    source = dataclasses.replace(source, images=source.pictures)
    every = np.arange(len(source))
    if kind == "file":
        return np.asarray(features.load_features(path, len(source)), np.float32)
    if kind in BACKBONES:
        backbone.check_rgb(source, kind)
        folder = cache_dir or backbone.CACHE
        return backbone.backbone_features(source, kind, weights=path, side=side, folder=folder)
    if kind == "vggf":
        if not path:
            raise ValueError(
                "VGG-F needs weights, which are not ours to give: download imagenet-vgg-f.mat of "
                "MatConvNet's pre-trained models and set shallow.features_path to it."
            )
        variables, mean_224x224x3 = matconvnet.load_vggf(path)
        function = functools.partial(_fc7, mean_224x224x3)
    elif kind in ("pixels", "gist"):
        variables, function = None, {"pixels": _pixels, "gist": _gist}[kind]
    else:
        raise ValueError(
            f"shallow.features is {kind!r}; it must be 'pixels', 'gist', 'vggf', 'file' or one of "
            f"{', '.join(BACKBONES)}."
        )
    return np.concatenate(
        list(features.feature_blocks(function, variables, source, every, batch=batch))
    )


def _pixels(variables: None, image_BxHxWxC: jax.Array) -> jax.Array:
    return features.pixels(image_BxHxWxC)


def _gist(variables: None, image_BxHxWxC: jax.Array) -> jax.Array:
    return gist.gist(image_BxHxWxC)


def _fc7(mean_224x224x3: np.ndarray, variables: Any, image_BxHxWxC: jax.Array) -> jax.Array:
    return vggf.fc7(variables, mean_224x224x3, image_BxHxWxC)


def fit(
    config: ConfigDict, feature_NxD: np.ndarray, label_NxC: np.ndarray, split: splits.Split
) -> tuple[Callable[[Any, jax.Array], jax.Array], Any]:
    """Fit the method of a config to the training rows; one that reads labels, to the labelled ones.

    Args:
      config: of the run.
      feature_NxD: of every row.
      label_NxC: multi-hot, of every row; only those of labelled rows are read.
      split: of the rows.

    Returns:
      `encode` of the method, and its parameters.

    Raises:
      ValueError: for settings that the method refuses.
    """
    options, bits = config.shallow, config.model.bits
    key = jax.random.PRNGKey(config.seed)
    method = METHODS[config.method]
    train_NxD = feature_NxD[split.labelled if config.method in SUPERVISED else split.train]
    if config.method == "lsh":
        parameters = lsh.fit(
            key,
            train_NxD,
            bits,
            center=options.center,
            orthonormalise=options.orthonormalise,
        )
    elif config.method == "itq":
        parameters = itq.fit(key, train_NxD, bits, iterations=options.iterations)
    elif config.method == "sdh":
        parameters = sdh.fit(
            key,
            train_NxD,
            label_NxC[split.labelled],
            bits,
            anchors=options.anchors,
            normalise=options.normalise,
            sigma=options.sigma or None,
            restart=options.restart,
        )
    elif config.method == "adsh":
        parameters = adsh.fit(
            key, train_NxD, label_NxC[split.labelled], bits, rounds=options.iterations
        )
    elif config.method == "bihalf":
        parameters = bihalf.fit(key, train_NxD, bits, steps=options.steps, center=options.center)
    else:
        parameters = method.fit(key, train_NxD, bits)
    return method.encode, parameters


def run(
    config: ConfigDict,
    source: Source,
    split: splits.Split,
    workdir: epath.PathLike,
    *,
    feature_NxD: np.ndarray | None = None,
) -> Ranked:
    """Fit and evaluate a shallow method; its folder holds what a trained run's does, but weights.

    Args:
      config: of the run; `method` is one of `methods.shallow.METHODS`.
      source: images and labels.
      split: of its rows.
      workdir: of the run.
      feature_NxD: of every row, where the caller has them; else by `config.shallow`.

    Returns:
      Ranked.

    Raises:
      ValueError: for bad settings, several processes, and where another one works in the folder.
    """
    if parallel.process_count() > 1:
        raise ValueError(
            f"there are {parallel.process_count()} processes, but {config.method} is fitted by "
            "one: start a single one."
        )
    for note in (*source.notes, *split.notes):
        logging.info("%s", note)
    started = time.monotonic()
    if feature_NxD is None:
        options = config.shallow
        feature_NxD = features_of(
            source,
            kind=options.features,
            path=options.features_path,
            side=options.side,
            cache_dir=config.data.cache_dir,
        )
    found = time.monotonic()
    encode, parameters = fit(config, feature_NxD, source.label_NxC, split)
    jax.block_until_ready(parameters)
    logging.info(
        "%s: features [%d, %d] in %.1f s, fitted in %.1f s", config.method, *feature_NxD.shape,
        found - started, time.monotonic() - found,
    )  # fmt: skip
    bits = config.model.bits
    rows = {"query": split.query, **split.databases()}
    logit = {part: encode(parameters, feature_NxD[part_rows]) for part, part_rows in rows.items()}
    packed = {
        part: np.asarray(codes.pack_bits(codes.binarize(value))) for part, value in logit.items()
    }
    label = {part: source.label_NxC[part_rows] for part, part_rows in rows.items()}
    health = codes.code_health(codes.binarize(logit["query"]), jax.nn.sigmoid(logit["query"]))
    del health["bit_mean_K"], health["quantization_gap"]  # logits have no common scale
    ranked = Ranked(results.rank(packed, label, bits=bits), health, rows)
    with locked(workdir):
        folder = open_run(config, workdir)
        splits.save(split, folder / "split.npz")
        results.save_codes(folder, 0, packed, label, rows, bits=bits, split_hash=split.hash)
        writer = make_writer(folder, keep=lambda record: False)
        writer.write_scalars(0, ranked.scalars())
        writer.close()
    return ranked


def summary(config: ConfigDict, ranked: Ranked) -> str:
    """Return the numbers of a run as text, and its mAP as a last line of JSON.

    Args:
      config: of the run.
      ranked: of it.
    """
    text = results.table(ranked.results, ranked.code, ranked.rows)
    last = {"method": config.method, "map": ranked.scalars()["eval/map"]}
    return f"\n{text}\n\n{json.dumps(last)}"
