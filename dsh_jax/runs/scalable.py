"""One long code for every length: a DRSCH run's codes cut to their strongest bits, and ranked."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from etils import epath

from dsh_jax import codes, metrics, retrieval
from dsh_jax.evaluation import results
from dsh_jax.methods import drsch
from dsh_jax.training import build, checkpoint


def cut(
    packed_NxW: np.ndarray, weight_K: np.ndarray, *, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut packed codes to the bits of the greatest weights, see `drsch.strongest_bits`.

    Args:
      packed_NxW: uint8 codes of K bits.
      weight_K: ŵ of DRSCH's head, of either sign.
      bits: how many to keep, up to K.

    Returns:
      (packed_Nxw, square_k): uint8 codes, the strongest bit first, and the kept bits' ŵ².

    Raises:
      ValueError: for bits out of range, or weights of other bits.
    """
    bit_NxK = codes.unpack_bits(packed_NxW, len(weight_K))
    kept_Nxk, square_k = drsch.strongest_bits(
        bit_NxK.astype(jnp.float32) - 0.5, jnp.asarray(weight_K), bits=bits
    )
    return np.asarray(codes.pack_bits(codes.binarize(kept_Nxk))), np.asarray(square_k)


def evaluate_cuts(
    described: build.Run, workdir: epath.PathLike, lengths: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Rank a run's evaluated codes by plain and by weighted Hamming distance, at several lengths.

    Args:
      described: of the run, a DRSCH one, see `build.build`.
      workdir: its folder, evaluated before.
      lengths: bits to keep, each up to the code's own.

    Returns:
      `12 bits` and so on to `map_<database>`, tie-aware mAP by Hamming distance, and
      `weighted_map_<database>`, by `Σ ŵ_k² [b_k ≠ b'_k]`.

    Raises:
      ValueError: where the run has no such head, no evaluation, or shorter codes.
    """
    folder = epath.Path(workdir).expanduser().resolve()
    saved = checkpoint.best(folder, described.state_shapes)
    head = saved.state.evaluation_variables()["params"]["bcoding"]
    if "weight" not in head:
        raise ValueError(
            f"{folder} is no run of drsch: only its head gives bits weights to cut by."
        )
    path = folder / "eval" / f"{saved.step}.npz"
    if not path.exists():
        raise ValueError(f"{folder} has no codes of step {saved.step}: evaluate it first.")
    with path.open("rb") as file, np.load(file) as arrays:
        found = dict(arrays)
    weight_K = np.asarray(head["weight"])
    parts = [n.removesuffix("_code") for n in found if n.endswith("_code") and n != "query_code"]
    table: dict[str, dict[str, float]] = {}
    for bits in lengths:
        query_QxW, square_k = cut(found["query_code"], weight_K, bits=bits)
        line = table[f"{bits} bits"] = {}
        for part in parts:
            database_RxW, _ = cut(found[f"{part}_code"], weight_K, bits=bits)
            labels = found["query_label"], found[f"{part}_label"]
            result = results.retrieve(query_QxW, labels[0], database_RxW, labels[1], bits=bits)
            line[f"map_{part}"] = result.metrics["map"]
            ap_Q = retrieval.linear_metric(
                metrics.average_precision,
                *retrieval.weighted_hamming(query_QxW, square_k, bits=bits),
                labels[0],
                database_RxW,
                labels[1],
                bits=bits,
            )
            line[f"weighted_map_{part}"] = float(np.mean(ap_Q, dtype=np.float64))
    return table


def map_of_cuts(
    described: build.Run, workdir: epath.PathLike, lengths: Sequence[int]
) -> dict[int, float]:
    """Return the mAP by plain Hamming distance of a run's codes cut to several lengths.

    Args:
      described, workdir, lengths: see `evaluate_cuts`.

    Returns:
      Bits to mAP on the protocol's own database.

    Raises:
      ValueError: as `evaluate_cuts`.
    """
    table = evaluate_cuts(described, workdir, lengths)
    name = f"map_{next(iter(described.split.databases()))}"
    return {bits: table[f"{bits} bits"][name] for bits in lengths}
