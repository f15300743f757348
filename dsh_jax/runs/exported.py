"""A trained run as an encoder: from its folder, or from an export that needs nothing else.

An export is a folder: `encoder.jaxexport`, the network with its weights as `jax.export` serializes
it, uint8 images to packed codes; `weights.npz`, the same as `weights.safetensors` for others,
`config.json`, `label_names.json`, `fingerprint.txt`; and `use_it.py`, which shows the use of the
first without this library.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import jax.export
import numpy as np
import safetensors.numpy
from absl import logging
from etils import epath
from flax import traverse_util
from ml_collections import ConfigDict

from dsh_jax import codes
from dsh_jax.augment import network_input
from dsh_jax.collection.encoder import ImageEncoder
from dsh_jax.collection.fingerprint import fingerprint, preparation
from dsh_jax.evaluation.views import outputs_of_views
from dsh_jax.methods.shallow import METHODS
from dsh_jax.network import DSH
from dsh_jax.network.pretrained import FEATURES
from dsh_jax.training import build, checkpoint
from dsh_jax.training.backbone import sees_features, with_backbone
from dsh_jax.training.run_folder import read_config

PLATFORMS = ("cpu", "cuda", "tpu")
ARTIFACT = "encoder.jaxexport"
USE_IT = '''"""Encode images: python use_it.py images.npy codes.npy

Needs `pip install jax numpy flatbuffers`, and no other file than encoder.jaxexport.
"""

import pathlib
import sys

import jax
import jax.export
import numpy as np

data = pathlib.Path(__file__).with_name("encoder.jaxexport").read_bytes()
exported = jax.export.deserialize(bytearray(data))
encode = jax.jit(exported.call)
print("wants", exported.in_avals[0])
image_NxHxWxC = np.load(sys.argv[1])  # uint8, RGB or grey, of that size
packed_NxW = np.asarray(encode(image_NxHxWxC))  # bit k is bit k % 8 of byte k // 8
np.save(sys.argv[2], packed_NxW)
'''


def packed_codes(
    model: DSH, variables: Any, image_BxHxWxC: jax.Array, *, views: int = 1
) -> jax.Array:
    """Return the network's codes of images.

    Args:
      model: the network.
      variables: its own.
      image_BxHxWxC: uint8.
      views: of each image, see `views.views_of`.

    Returns:
      packed_BxW, uint8, see `codes.pack_bits`.
    """
    image_BxHxWxC = network_input(image_BxHxWxC)
    logit_BxK, _, _ = outputs_of_views(model, variables, image_BxHxWxC, views)
    return codes.pack_bits(codes.binarize(logit_BxK))


def of_run(config: ConfigDict, described: build.Run, workdir: epath.PathLike) -> ImageEncoder:
    """Return the encoder of a run's best checkpoint.

    Args:
      config: of the run.
      described: what `build.build` made of it.
      workdir: the run's folder.

    Returns:
      ImageEncoder.

    Raises:
      ValueError: where there is no checkpoint, or one of another architecture.
    """
    folder = epath.Path(workdir).expanduser().resolve()
    saved = checkpoint.best(folder, described.state_shapes)
    variables = saved.state.evaluation_variables()
    if config.model.encoder == FEATURES:
        raise ValueError(
            f"{folder} was trained on features computed elsewhere ({config.data.features_path}): "
            "it cannot encode images."
        )
    if sees_features(config):
        variables = with_backbone(variables, config)
    shape, bits = described.source.pictures.shape, config.model.bits
    views = config.evaluation.views
    return ImageEncoder(
        function=functools.partial(packed_codes, described.model, views=views),
        variables=variables,
        shape=shape,
        bits=bits,
        fit=config.data.fit,
        fingerprint=fingerprint(
            variables, bits=bits, shape=shape, preparation=preparation(config.data.fit, views)
        ),
        label_names=described.source.label_names,
    )


def open_run(workdir: epath.PathLike, views: int | None = None) -> tuple[ConfigDict, build.Run]:
    """Return a run's config and what it describes, its images not decoded.

    Args:
      workdir: the run's folder.
      views: of each image, in place of the config's `evaluation.views`.

    Returns:
      (config, described).

    Raises:
      ValueError: where it is no run, or one of a method without a network; see `build.build`.
    """
    folder = epath.Path(workdir).expanduser().resolve()
    config = read_config(folder)
    if config.method in METHODS:
        raise ValueError(
            f"{folder} is a run of {config.method}, which hashes features: only networks encode "
            "images."
        )
    config.data.cache = "none"  # none of its images is wanted
    if views is not None:
        config.evaluation.views = views
    return config, build.build(config)


def export_run(
    config: ConfigDict, described: build.Run, workdir: epath.PathLike, out_dir: epath.PathLike
) -> epath.Path:
    """Write a run's best checkpoint as a folder that needs nothing else.

    The convolutions are those of the backend that it is written on, see `convolution.convolution`;
    they give the same codes, to rounding, on every platform.

    Args:
      config, described, workdir: see `of_run`.
      out_dir: folder to make; it is there in whole or not at all.

    Returns:
      Its path.

    Raises:
      ValueError: where out_dir holds files; see `of_run`.
    """
    check_free(out_dir)
    encoder = of_run(config, described, workdir)
    settings = json.loads((epath.Path(workdir).expanduser() / "config.json").read_text())
    settings["evaluation"]["views"] = config.evaluation.views
    return write(encoder, settings, out_dir)


def check_free(out_dir: epath.PathLike) -> None:
    """Check that an export can be written.

    Args:
      out_dir: its folder.

    Raises:
      ValueError: where it holds files.
    """
    out = epath.Path(out_dir).expanduser().resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already: choose another folder, or remove it.")


def write(
    encoder: ImageEncoder, settings: Mapping[str, Any], out_dir: epath.PathLike
) -> epath.Path:
    """Write an encoder as a folder that needs nothing else.

    Args:
      encoder: any.
      settings: for its config.json; `load` reads `model.bits`, `data.fit` and `evaluation.views`.
      out_dir: folder to make; it is there in whole or not at all.

    Returns:
      Its path.

    Raises:
      ValueError: where out_dir holds files.
    """
    check_free(out_dir)
    out = epath.Path(out_dir).expanduser().resolve()
    unfinished = out.parent / f".{out.name}.unfinished"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(parents=True)
    (unfinished / ARTIFACT).write_bytes(_artifact(encoder))
    weights = traverse_util.flatten_dict(encoder.variables, sep="/")
    with (unfinished / "weights.npz").open("wb") as file:
        np.savez(file, **weights)
    about = {"fingerprint": encoder.fingerprint, "bits": str(encoder.bits)}
    arrays = {name: np.asarray(array) for name, array in weights.items()}
    (unfinished / "weights.safetensors").write_bytes(safetensors.numpy.save(arrays, about))
    texts = {
        "config.json": json.dumps(settings, indent=2),
        "label_names.json": json.dumps(encoder.label_names, indent=2, ensure_ascii=False),
        "fingerprint.txt": encoder.fingerprint,
        "use_it.py": USE_IT.rstrip(),
    }
    for name, text in texts.items():
        (unfinished / name).write_text(text + "\n", encoding="utf-8")
    if out.exists():
        out.rmdir()
    unfinished.rename(out)
    return out


def load(folder: epath.PathLike) -> ImageEncoder:
    """Read an export.

    Args:
      folder: that `export_run` has written.

    Returns:
      ImageEncoder, with `encode` and `search`.

    Raises:
      ValueError: where files are missing, damaged or do not belong together.
    """
    folder = epath.Path(folder).expanduser().resolve()
    wanted = (ARTIFACT, "weights.npz", "config.json", "label_names.json", "fingerprint.txt")
    missing = [name for name in wanted if not (folder / name).exists()]
    if missing:
        raise ValueError(
            f"{folder} lacks {', '.join(missing)}: it is no export; write one with "
            "`python -m experiments.encode --workdir=… --export=…`."
        )
    try:
        artifact = jax.export.deserialize(bytearray((folder / ARTIFACT).read_bytes()))
        with (folder / "weights.npz").open("rb") as file:
            weights = traverse_util.unflatten_dict(dict(np.load(file).items()), sep="/")
        config = json.loads((folder / "config.json").read_text())
        label_names = tuple(json.loads((folder / "label_names.json").read_text()))
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"{folder} is damaged ({error}): export the run again.") from error
    shape = tuple(map(int, artifact.in_avals[0].shape[1:]))
    bits, fit = config["model"]["bits"], config["data"]["fit"]
    views = config["evaluation"].get("views", 1)  # exports of earlier versions have none
    name = fingerprint(weights, bits=bits, shape=shape, preparation=preparation(fit, views))
    said = (folder / "fingerprint.txt").read_text().strip()
    if name != said:
        raise ValueError(
            f"{folder} is the model {name} by its weights, but {said} by fingerprint.txt: files "
            "were changed, or this library prepares images otherwise now. Export the run again."
        )
    return ImageEncoder(
        function=lambda _, image_BxHxWxC: artifact.call(image_BxHxWxC),
        variables=(),
        shape=shape,
        bits=bits,
        fit=fit,
        fingerprint=name,
        label_names=label_names,
    )


def open_encoder(
    *, workdir: epath.PathLike | None, model: epath.PathLike | None, views: int | None = None
) -> ImageEncoder:
    """Return the encoder of a run's folder or of an export, whichever is given.

    Args:
      workdir: of a run.
      model: folder of an export.
      views: of each image, in place of the run's; an export has its own.

    Returns:
      ImageEncoder.

    Raises:
      ValueError: see `load`, `open_run`, `of_run`.
    """
    if model:
        return load(model)
    return of_run(*open_run(workdir, views), workdir)


def _artifact(encoder: ImageEncoder) -> bytes:
    """Return the network with its weights, for every platform that it can be lowered for."""
    function = jax.jit(functools.partial(encoder.function, encoder.variables))
    (batch,) = jax.export.symbolic_shape("batch")
    image = jax.ShapeDtypeStruct((batch, *encoder.shape), np.uint8)
    try:
        exported = jax.export.export(function, platforms=PLATFORMS)(image)
    except Exception as error:  # the lowering of some operation may lack a platform
        own = jax.default_backend().replace("gpu", "cuda")
        logging.warning("exported for %s only, of %s: %s", own, PLATFORMS, error)
        exported = jax.export.export(function, platforms=(own,))(image)
    return bytes(exported.serialize())
