"""Shallow methods beside numpy and scikit-learn: `python -m experiments.bench methods`.

ITQ and SDH are fitted to the 60,000 × 784 pixels of MNIST, or to random numbers of that shape where
MNIST is not prepared. Both sides get the same float32 rows and the same start, and use all cores,
in turns. Compilation is in the first call only, which is reported apart. OpenBLAS must choose its
kernels itself: unset OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, or numpy is up to twice as slow.

- itq: against scikit-learn's PCA and a loop of scipy.linalg.svd.
- sdh: against numpy with the same kernel, the same Cholesky factor and the same updates of B W.
"""

import os
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
import scipy.linalg
from absl import logging
from sklearn.decomposition import PCA

from dsh_jax.data import sources
from dsh_jax.methods import itq, sdh

BITS = 48


def pixels(rows: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Return the name of the data, `rows` of features in [0, 1], and their multi-hot labels."""
    if os.environ.get("TFDS_DATA_DIR"):
        source = sources.load("mnist")
        train = np.flatnonzero(source.official["train"])[:rows]
        feature_NxD = source.images.take(train).reshape(len(train), -1)
        return "mnist", feature_NxD.astype(np.float32) / 255, source.label_NxC[train]
    rng = np.random.default_rng(0)
    label_NxC = np.eye(10, dtype=np.uint8)[rng.integers(0, 10, rows)]
    centre_Cx784 = rng.random((10, 784), np.float32)
    feature_NxD = label_NxC @ centre_Cx784 + rng.random((rows, 784), np.float32)
    return "random", feature_NxD.astype(np.float32), label_NxC


def plain_itq(feature_NxD: np.ndarray, rotation_KxK: np.ndarray) -> itq.Parameters:
    """Return what ITQ's 50 iterations in numpy end with."""
    pca = PCA(len(rotation_KxK)).fit(feature_NxD)
    component_NxK = pca.transform(feature_NxD)
    for _ in range(50):
        left_KxK, _, right_KxK = scipy.linalg.svd(
            component_NxK.T @ _sign(component_NxK @ rotation_KxK)
        )
        rotation_KxK = left_KxK @ right_KxK
    return itq.Parameters(pca.mean_, pca.components_.T, rotation_KxK)


def plain_sdh(
    feature_NxD: np.ndarray,
    label_NxC: np.ndarray,
    sign_NxK: np.ndarray,
    anchor_AxD: np.ndarray,
    sigma: float,
) -> np.ndarray:
    """Return the logits of the rows to which SDH is fitted in numpy."""
    unit_NxD = feature_NxD / np.maximum(np.linalg.norm(feature_NxD, axis=1, keepdims=True), 1e-12)
    square_NxA = (
        (unit_NxD**2).sum(1)[:, None] + (anchor_AxD**2).sum(1) - 2 * unit_NxD @ anchor_AxD.T
    )
    kernel_NxJ = np.ones((len(feature_NxD), len(anchor_AxD) + 1), np.float32)
    np.exp(square_NxA / np.float32(-2 * sigma**2), out=kernel_NxJ[:, :-1])
    ridge_JxJ = np.float32(1e-2) * np.eye(kernel_NxJ.shape[1], dtype=np.float32)
    factor = scipy.linalg.cho_factor(kernel_NxJ.T @ kernel_NxJ + ridge_JxJ)
    target_NxC = label_NxC.astype(np.float32)

    def maps(sign_NxK):
        ridge_KxK = np.eye(sign_NxK.shape[1], dtype=np.float32)
        weight_KxC = np.linalg.solve(sign_NxK.T @ sign_NxK + ridge_KxK, sign_NxK.T @ target_NxC)
        return weight_KxC, scipy.linalg.cho_solve(factor, kernel_NxJ.T @ sign_NxK)

    weight_KxC, map_JxK = maps(sign_NxK)
    for _ in range(5):
        wanted_NxK = target_NxC @ weight_KxC.T + np.float32(1e-5) * (kernel_NxJ @ map_JxK)
        next_NxK = _plain_discrete(sign_NxK, wanted_NxK, weight_KxC)
        is_done, sign_NxK = np.array_equal(next_NxK, sign_NxK), next_NxK
        weight_KxC, map_JxK = maps(sign_NxK)
        if is_done:
            break
    return kernel_NxJ @ map_JxK


def _plain_discrete(sign_NxK, wanted_NxK, weight_KxC):
    """Discrete cyclic coordinate descent, bits and classes in rows that lie together."""
    sign_KxN, wanted_KxN = sign_NxK.T.copy(), wanted_NxK.T.copy()
    square_K = (weight_KxC**2).sum(1)
    for _ in range(10):
        before_KxN, score_CxN = sign_KxN.copy(), weight_KxC.T @ sign_KxN
        for k, weight_C in enumerate(weight_KxC):
            new_N = _sign(wanted_KxN[k] - weight_C @ score_CxN + square_K[k] * sign_KxN[k])
            score_CxN += weight_C[:, None] * (new_N - sign_KxN[k])
            sign_KxN[k] = new_N
        if np.array_equal(before_KxN, sign_KxN):
            break
    return sign_KxN.T


def bench_methods(*, rounds: int = 3, rows: int = 60_000) -> dict[str, float | str]:
    """Return the seconds of a fit by all sides, how many times as long the plain ones take.

    Args:
      rounds: measurements of each side, taken in turn; medians are returned.
      rows: of the training set.

    Returns:
      Name to seconds (`first` holds the compilation), ratio, ITQ's losses, and the share of bits
      on which two sides agree; `data` names the rows.
    """
    data, feature_NxD, label_NxC = pixels(rows)
    key = jax.random.key(0)
    start_KxK = np.asarray(jax.random.orthogonal(key, BITS))
    # As `sdh.fit` draws them from its key.
    start_NxK = _sign(np.asarray(jax.random.normal(jax.random.split(key)[1], (rows, BITS))))
    anchor_AxD = np.asarray(sdh.fit(key, feature_NxD, label_NxC, BITS).anchor_AxD)
    ours = {
        "itq": lambda: itq.fit(key, feature_NxD, BITS, rotation_KxK=start_KxK),
        "sdh": lambda: sdh.fit(key, feature_NxD, label_NxC, BITS),
    }
    plain = {
        "itq": lambda: plain_itq(feature_NxD, start_KxK),
        "sdh": lambda: plain_sdh(feature_NxD, label_NxC, start_NxK, anchor_AxD, 0.4),
    }
    jax.clear_caches()
    numbers = {"data": data, "rows": rows}
    for name in ours:
        numbers[f"{name} first s"], _ = _timed(ours[name])
        seconds = {"ours": [], "plain": []}
        for turn in range(rounds):
            logging.info("%s: round %d of %d", name, turn + 1, rounds)
            for side, fit in (("ours", ours[name]), ("plain", plain[name])):
                taken, value = _timed(fit)
                seconds[side].append(taken)
                if side == "ours":
                    parameters = value
        numbers[f"{name} s"] = statistics.median(seconds["ours"])
        numbers[f"{name} plain s"] = statistics.median(seconds["plain"])
        numbers[f"{name} plain ÷ ours"] = numbers[f"{name} plain s"] / numbers[f"{name} s"]
        if name == "itq":
            numbers["itq loss"] = float(itq.quantization_loss(parameters, feature_NxD))
            numbers["itq plain loss"] = float(itq.quantization_loss(value, feature_NxD))
            logits = itq.encode(parameters, feature_NxD), itq.encode(value, feature_NxD)
        else:
            logits = sdh.encode(parameters, feature_NxD), value
        equal = [np.asarray(logit_NxK) > 0 for logit_NxK in logits]
        numbers[f"{name} bits equal"] = float(np.mean(equal[0] == equal[1]))
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in numbers.items()}


def _timed(function: Callable) -> tuple[float, object]:
    started = time.perf_counter()
    value = jax.block_until_ready(function())
    return time.perf_counter() - started, value


def _sign(value):
    return np.where(value > 0, np.float32(1), np.float32(-1))
