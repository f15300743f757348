"""Compute features of all images of a data set, for the methods that hash features.

python -m experiments.features --config=configs/cifar10.py --kind=gist --out=gist.npy
python -m experiments.features --config=… --kind=vggf --weights=imagenet-vgg-f.mat --out=fc7.npy
python -m experiments.features --config=… --kind=efficientnet_lite2 --side=128 --out=lite2.npy
python -m experiments.features --workdir=runs/cifar-48 --kind=encoder --out=encoder.npy

Writes a float32 array with a row for each image, in the data set's order: its rows are the split's
row numbers. `dsh_jax.methods.features.load_features` reads it.
"""

import time
from collections.abc import Iterator

import numpy as np
from absl import app, flags
from etils import epath
from ml_collections import config_flags

from dsh_jax.data.source import Source
from dsh_jax.methods import features
from dsh_jax.methods.features import gist, matconvnet, vggf
from dsh_jax.network.backbones import BACKBONES
from dsh_jax.training import backbone, build, checkpoint
from dsh_jax.training.run_folder import read_config
from experiments import console

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config of the data.")
_KIND = flags.DEFINE_enum(
    "kind", None, ["pixels", "gist", "vggf", "encoder", *BACKBONES], "Which features."
)
_WEIGHTS = flags.DEFINE_string(
    "weights", None, "imagenet-vgg-f.mat for vggf; of a pretrained network, for its package's."
)
_SIDE = flags.DEFINE_integer(
    "side", 0, "Pixels to which images are brought before a pretrained network; 0: as they are."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run, for --kind=encoder.")
_OUT = flags.DEFINE_string("out", None, "File to write, .npy.")
_BATCH = flags.DEFINE_integer("batch", 256, "Images at a time.", lower_bound=1)
flags.mark_flags_as_required(["kind", "out"])


def encoder_blocks(folder: epath.Path) -> tuple[Source, Iterator[np.ndarray]]:
    """Return a run's images, and FC7 of them all by its best checkpoint."""
    folder = folder.expanduser().resolve()
    described = build.build(read_config(folder))
    saved = checkpoint.best(folder, described.state_shapes)
    source = described.source
    variables = saved.state.evaluation_variables()
    rows = np.arange(len(source))
    return source, features.encoder_features(
        described.model, variables, source, rows, batch=_BATCH.value
    )


def image_blocks(kind: str, source: Source) -> Iterator[np.ndarray]:
    """Return features of all images that need no run."""
    if kind in BACKBONES:
        return backbone.feature_blocks(
            source, kind, weights=_WEIGHTS.value or "", side=_SIDE.value, batch=_BATCH.value
        )
    variables = matconvnet.load_vggf(_WEIGHTS.value) if kind == "vggf" else None
    function = {
        "pixels": lambda _, image: features.pixels(image),
        "gist": lambda _, image: gist.gist(image),
        "vggf": lambda variables, image: vggf.fc7(*variables, image),
    }[kind]
    rows = np.arange(len(source))
    return features.feature_blocks(function, variables, source, rows, batch=_BATCH.value)


def check_flags(kind: str) -> None:
    """Refuse flags that the kind of features lacks or has no use for."""
    wanted = {"vggf": {"config", "weights"}, "encoder": {"workdir"}}.get(kind, {"config"})
    allowed = {"weights"} if kind in BACKBONES else set()
    for name in ("config", "weights", "workdir"):
        if name not in allowed and (name in wanted) != flags.FLAGS[name].present:
            advice = "pass" if name in wanted else "leave out"
            raise ValueError(f"--kind={kind}: {advice} --{name}")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    kind = _KIND.value
    with console.clear_errors():
        check_flags(kind)
        started = time.monotonic()
        if kind == "encoder":
            source, blocks = encoder_blocks(epath.Path(_WORKDIR.value))
        else:
            source = build.load_source(_CONFIG.value)
            blocks = image_blocks(kind, source)
        out = features.save_features(_OUT.value, blocks, len(source))
        feature_NxD = features.load_features(out, len(source))
    rows, columns = feature_NxD.shape
    print(
        f"{out}: {kind}, {rows:,} rows of {columns:,} numbers, data {source.fingerprint}, "
        f"{time.monotonic() - started:,.0f} s"
    )


if __name__ == "__main__":
    console.run(main)
