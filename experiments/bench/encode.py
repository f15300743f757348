"""How fast images are encoded, beside decoding and the network alone, and what one query takes.

All sides work on the same files with the same encoder, in turns:

- decode: `decode_all`, tf.data with nothing behind it.
- read: `pictures.read_all`: checked, decoded, errors kept.
- forward: the network on images decoded before.
- encode: `encode_files`, from files to the file of codes.
"""

import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np

from dsh_jax import retrieval
from dsh_jax.collection import encode_files, file_names
from dsh_jax.collection.encoder import ImageEncoder
from dsh_jax.data.files import decode_all
from dsh_jax.data.images import FileImages
from dsh_jax.runs import exported


def bench_run(
    workdir: str | None, model: str | None, images: str | None, *, rounds: int
) -> dict[str, float]:
    """Return what `bench_encode` measures of a run or an export, and a folder of images.

    Args:
      workdir: of the run.
      model: folder of the export, in place of a run.
      images: folder of JPEG files.
      rounds: measurements of each side.

    Raises:
      ValueError: where one is missing, or there are no images.
    """
    if bool(workdir) == bool(model) or not images:
        raise ValueError(
            "encode needs --workdir, of a run, or --model, of an export, and --images, a folder of "
            "JPEG files."
        )
    names, _ = file_names.of_folder(pathlib.Path(images))
    if not names:
        raise ValueError(f"--images={images} has no images in it: pass a folder of JPEG files.")
    encoder = exported.open_encoder(workdir=workdir, model=model)
    return bench_encode(encoder, images, names, rounds=rounds)


def bench_encode(
    encoder: ImageEncoder,
    root: str,
    names: Sequence[str],
    *,
    rounds: int = 3,
    queries: int = 30,
    codes: int = 1_000_000,
) -> dict[str, float]:
    """Return medians of all sides, and of the parts of one warm query.

    Args:
      encoder: of RGB images.
      root: folder of the files.
      names: JPEG files that can all be read.
      rounds: measurements of each side, taken in turn.
      queries: images that the latency is taken of, one at a time.
      codes: random codes to search, k = 20.

    Returns:
      `decode`, `read`, `forward`, `encode` in images/s; `encode ÷ (decode + forward)`, the time
      that decoding and the network take one after the other by that of `encode`;
      `query decode ms`, `query forward ms`, `query search ms`, and `query forward, not jitted, ms`,
      operation by operation.
    """
    images = FileImages(root, np.array(names), encoder.shape[0], encoder.fit)
    image_NxHxWxC = np.empty((len(names), *encoder.shape), np.uint8)
    paths = [f"{root}/{name}" for name in names]

    def encode():
        with tempfile.TemporaryDirectory() as folder:
            encode_files.encode_files(encoder, root, names, pathlib.Path(folder) / "codes.npz")

    sides = {
        "decode": lambda: decode_all(images, image_NxHxWxC),
        "read": lambda: encoder.read_all(paths),
        "forward": lambda: encoder.encode_pixels(image_NxHxWxC),
        "encode": encode,
    }
    for side in sides.values():
        side()  # compiles
    seconds = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            seconds[name].append(_seconds(side))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    numbers = {name: round(len(names) / value) for name, value in median.items()}
    both = median["decode"] + median["forward"]
    numbers["encode ÷ (decode + forward)"] = round(both / median["encode"], 2)
    return numbers | _latency(encoder, paths[:queries], codes)


def _latency(encoder: ImageEncoder, paths: Sequence[str], codes: int) -> dict[str, float]:
    """Return the median milliseconds of the parts of one query, each warm."""
    width = -(-encoder.bits // 8)
    database = np.random.default_rng(0).integers(0, 256, (codes, width), np.uint8)
    if encoder.bits % 8:
        database[:, -1] &= (1 << encoder.bits % 8) - 1
    times = {"decode": [], "forward": [], "search": []}
    for path in [paths[0], *paths]:
        image = []
        times["decode"].append(_seconds(lambda: image.append(encoder.read(path)[0])))  # noqa: B023
        packed = []
        times["forward"].append(
            _seconds(lambda: packed.append(encoder.encode_pixels(np.stack(image))))  # noqa: B023
        )
        times["search"].append(
            _seconds(lambda: retrieval.search(packed[0], database, 20))  # noqa: B023
        )
    name = "forward, not jitted,"
    times[name] = [
        _seconds(lambda: np.asarray(encoder.function(encoder.variables, np.stack(image))))
        for _ in range(6)
    ]
    # The first one compiles.
    return {
        f"query {name} ms": round(1000 * statistics.median(values[1:]), 2)
        for name, values in times.items()
    }


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
