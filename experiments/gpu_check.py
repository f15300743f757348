"""What a GPU makes of this library, in one command of a few minutes, without network or TensorFlow.

    python -m experiments.gpu_check --json=gpu.json
    JAX_PLATFORMS=cpu python -m experiments.gpu_check --small --json=cpu.json   # a trial of it

Every search and count is checked against another method before it is timed. The table says, in
turn: whether `top_k` keeps the order of ties; what counting and search take by each method; what a
training step takes alone and in a scan; eight runs in one program beside eight in turn; how many
bits the device's products of lower precision flip; whether two runs end with the same bits.
"""

import functools
import json
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from etils import epath

from configs import cifar10, mnist
from dsh_jax import retrieval
from dsh_jax.data.images import ArrayImages
from dsh_jax.data.source import Source
from dsh_jax.training import build
from dsh_jax.training.stages import one_device_stages
from dsh_jax.training.step import create_state
from experiments import console

_SMALL = flags.DEFINE_bool("small", False, "Sizes for a CPU: to try the command, not to measure.")
_JSON = flags.DEFINE_string("json", None, "File for all results.")
_ONLY = flags.DEFINE_list("only", None, "Some of the checks; all without it.")

Row = dict[str, object]


def seconds(call: Callable[[], object], *, times: int = 3) -> float:
    """Return the median time of a call, its first one, with the compilation, left out."""
    jax.block_until_ready(call())
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def ties() -> Iterator[Row]:
    """Say whether top_k gives equal values by the lower index."""
    rows = 10_000 if _SMALL.value else 1_000_000
    value = np.random.default_rng(0).integers(0, 65, (4, rows)).astype(np.float32)
    for k in (10, 100, 1000):
        _, index = jax.jit(functools.partial(jax.lax.top_k, k=k))(-value)
        wanted = np.argsort(value, axis=1, kind="stable")[:, :k]
        yield {"k": k, "order kept": bool((np.asarray(index) == wanted).all())}


def _codes(bits: int) -> tuple:
    """Random codes and labels of ten classes: queries, database."""
    queries, items = (8, 20_000) if _SMALL.value else (1000, 1_000_000)
    draw = np.random.default_rng(bits)
    return tuple(
        (
            draw.integers(0, 256, (rows, bits // 8), dtype=np.uint8),
            np.eye(10, dtype=np.uint8)[draw.integers(0, 10, rows)],
        )
        for rows in (queries, items)
    )


def counts() -> Iterator[Row]:
    """Time the counts of all pairs by each method."""
    for bits in (64,) if _SMALL.value else (32, 64, 128):
        (query, query_label), (database, label) = _codes(bits)
        index = retrieval.Index(database, bits, label)
        wanted = index.counts(query, query_label, method="scatter")
        for method in ("scatter", "gpu_planes", "gpu_classes"):
            call = functools.partial(index.counts, query, query_label, method=method)
            found = call()
            equal = all((a == b).all() for a, b in zip(found, wanted, strict=True))
            taken = seconds(call)
            pairs = len(query) * len(database) / taken
            yield {
                "bits": bits,
                "method": method,
                "equal": bool(equal),
                "ms": 1000 * taken,
                "pairs/s": pairs,
            }


def search() -> Iterator[Row]:
    """Time searches of many queries and of one by each method."""
    for bits in (64,) if _SMALL.value else (64, 128):
        (query, _), (database, _) = _codes(bits)
        index = retrieval.Index(database, bits)
        for queries, k in ((len(query), 10), (len(query), 1000), (1, 20)):
            wanted = index.search(query[:queries], k, method="direct")
            for method in ("direct", "gpu"):
                call = functools.partial(index.search, query[:queries], k, method=method)
                equal = all((a == b).all() for a, b in zip(call(), wanted, strict=True))
                yield {
                    "bits": bits,
                    "queries": queries,
                    "k": k,
                    "method": method,
                    "equal": bool(equal),
                    "ms": 1000 * seconds(call),
                }


def _training(config, shape, classes: int = 10, batch: int | None = None):
    """A training step of a config on one device, a state and a batch that lies there."""
    batch = batch or (16 if _SMALL.value else config.training.batch_size)
    config.data.pad_small = True
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (batch, *shape), np.uint8)
    label = np.eye(classes, dtype=np.uint8)[draw.integers(0, classes, batch)]
    names = tuple(f"class {number}" for number in range(classes))
    source = Source("made", ArrayImages(image), label, names)
    model = build.make_model(config, source).clone(axis_name=None)
    stage = one_device_stages(config, model, 100, multilabel=False)[0]
    state = create_state(model, stage.optimizer, seed=0, ema=config.training.ema_decay > 0)
    item = {"image": image, "label": label.astype(np.float32), "is_labelled": np.ones(batch, bool)}
    item["row"] = np.arange(batch, dtype=np.int32)
    return stage.step, state, jax.device_put(item), model


def _small(config):
    """Narrow the network where the command is only tried."""
    if _SMALL.value:
        config.model.width, config.model.fc_dim = 1 / 32, 16
    return config


def step() -> Iterator[Row]:
    """Time a training step on a batch that lies on the device, alone and in a scan."""
    one, state, item, _ = _training(_small(cifar10.get_config("modern")), (32, 32, 3))
    images, turns = len(item["image"]), 3 if _SMALL.value else 50
    single = jax.jit(one)

    @jax.jit
    def scanned(state):
        return jax.lax.scan(lambda state, _: one(state, item), state, length=turns)

    def in_turn():
        now = state
        for _ in range(turns):
            now, metrics = single(now, item)
        return metrics

    for name, call in (("one by one", in_turn), ("in a scan", lambda: scanned(state))):
        taken = seconds(call) / turns
        yield {"steps": name, "ms": 1000 * taken, "images/s": images / taken}


def population() -> Iterator[Row]:
    """Time eight runs in one program, by vmap and in turn."""
    one, state, item, _ = _training(_small(mnist.get_config("modern")), (28, 28, 1))
    states = jax.tree.map(lambda x: jnp.stack([x] * 8), state)
    ways = {
        "vmap": jax.jit(jax.vmap(one, in_axes=(0, None))),
        "in turn": jax.jit(lambda s, i: jax.lax.map(lambda state: one(state, i), s)),
    }
    for name, call in ways.items():
        yield {"runs": name, "ms": 1000 * seconds(functools.partial(call, states, item))}


def flips() -> Iterator[Row]:
    """Count the bits that the device's default products change."""
    _, state, item, model = _training(_small(cifar10.get_config("cpu")), (32, 32, 3))
    image = item["image"].astype(jnp.float32) / 255
    logits = []
    for precision in ("default", "highest"):
        with jax.default_matmul_precision(precision):
            apply = jax.jit(functools.partial(model.apply, train=False, decode=False))
            logits.append(np.asarray(apply(state.evaluation_variables(), image).logit))
    differ = (logits[0] > 0) != (logits[1] > 0)
    yield {
        "bits": differ.size,
        "flipped": int(differ.sum()),
        "largest |z| of these": float(np.abs(logits[1][differ]).max(initial=0.0)),
        "largest difference": float(np.abs(logits[0] - logits[1]).max()),
    }


def determinism() -> Iterator[Row]:
    """Say whether two runs of a few steps end with the same bits."""
    one, state, item, _ = _training(_small(cifar10.get_config("modern")), (32, 32, 3))
    single, ends = jax.jit(one), []
    for _ in range(2):
        now = state
        for _ in range(3 if _SMALL.value else 20):
            now, _ = single(now, item)
        ends.append(jax.tree.leaves(now.params))
    same = [bool((a == b).all()) for a, b in zip(*ends, strict=True)]
    yield {"arrays": len(same), "equal": sum(same)}


CHECKS = (ties, counts, search, step, population, flips, determinism)


def shown(value: object) -> str:
    """Return a value as a cell."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    with console.clear_errors():
        known = {check.__name__: check for check in CHECKS}
        names = _ONLY.value or list(known)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"--only has {unknown[0]!r}; known: {', '.join(known)}")
        device = jax.devices()[0]
        found: dict[str, object] = {"device": device.device_kind, "jax": jax.__version__}
        print(f"{device.device_kind}, JAX {jax.__version__}\n", flush=True)
        for name in names:
            started = time.perf_counter()
            rows = list(known[name]())
            found[name] = rows
            print(f"{name} ({time.perf_counter() - started:.0f} s)")
            for row in rows:
                print("  " + ", ".join(f"{key} {shown(value)}" for key, value in row.items()))
            print(flush=True)
            if _JSON.value:  # after each: a lost machine loses one check
                epath.Path(_JSON.value).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    console.run(main)
