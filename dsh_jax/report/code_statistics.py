"""What the codes of a run look like: numbers of their bits, and the codes in the plane."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE


def bit_statistics(bit_NxK: np.ndarray, bcoding_NxK: np.ndarray) -> dict[str, float]:
    """Return what `codes.code_health` does not say of a set of codes.

    Args:
      bit_NxK: 0 or 1.
      bcoding_NxK: the activations in [0, 1] that the bits were cut from.

    Returns:
      bit_entropy_min: the least entropy of a bit, in bits; 1 is best.
      bit_correlation: the largest |correlation| of two bits that are not constant, 0 is best; NaN
        where there are no two.
      distance_from_half: mean of |activation − ½|; ½ is best.
    """
    bit_NxK = np.asarray(bit_NxK)
    mean_K = bit_NxK.mean(axis=0)
    live_NxL = bit_NxK[:, (mean_K > 0) & (mean_K < 1)]
    correlation = float("nan")
    if live_NxL.shape[1] > 1:
        correlation_LxL = np.corrcoef(live_NxL, rowvar=False)
        correlation = float(np.abs(np.triu(correlation_LxL, 1)).max())
    return {
        "bit_entropy_min": float(entropy([mean_K, 1 - mean_K], base=2).min()),
        "bit_correlation": correlation,
        "distance_from_half": float(np.abs(np.asarray(bcoding_NxK, np.float64) - 0.5).mean()),
    }


@dataclasses.dataclass(frozen=True)
class Plane:
    """Hold codes in the plane of their first two principal components, or of t-SNE.

    Attributes:
      point_Mx2: M different codes of a class.
      count_M: how many images have that code and class.
      class_M: a number in `names`, or −1 for other classes.
      names: of the classes shown.
      explained: share of the variance that each of the two axes holds; None of t-SNE.
    """

    point_Mx2: np.ndarray
    count_M: np.ndarray
    class_M: np.ndarray
    names: Sequence[str]
    explained: tuple[float, float] | None


def plane(
    bit_NxK: np.ndarray,
    label_NxC: np.ndarray,
    names: Sequence[str],
    *,
    most: int = 10,
    tsne: bool = False,
) -> Plane | None:
    """Return codes in the plane of their principal components, which is the same every time.

    With `tsne`, where t-SNE puts the different codes (van der Maaten and Hinton, JMLR 2008), of
    which near ones stay near, and the distance of far ones means nothing.

    Args:
      bit_NxK: 0 or 1.
      label_NxC: multi-hot labels.
      names: C, of the classes.
      most: classes shown, the most frequent ones. An image of several of them counts as the rarest.
      tsne: see above; the same every time on one machine.

    Returns:
      Plane, or None where all codes are the same; of t-SNE, where fewer than 4 are different.
    """
    bit_NxK = np.asarray(bit_NxK)
    if (bit_NxK == bit_NxK[0]).all():
        return None
    rows_C = label_NxC.sum(axis=0, dtype=np.int64)
    shown = np.argsort(-rows_C, kind="stable")[:most]
    shown = np.sort(shown[rows_C[shown] > 0])
    rarest_first = np.argsort(rows_C[shown], kind="stable")
    has = label_NxC[:, shown[rarest_first]] > 0
    class_N = np.where(has.any(axis=1), rarest_first[has.argmax(axis=1)], -1)
    code_class, count_M = np.unique(
        np.column_stack([bit_NxK.astype(np.int64), class_N]), axis=0, return_counts=True
    )
    if tsne:
        point_Mx2, explained = _neighbours(code_class[:, :-1]), None
        if point_Mx2 is None:
            return None
    else:
        components = min(2, bit_NxK.shape[1])
        pca = PCA(components, svd_solver="full").fit(bit_NxK)
        lacking = 2 - components  # a code of one bit has one axis
        point_Mx2 = np.pad(pca.transform(code_class[:, :-1]), ((0, 0), (0, lacking)))
        explained = tuple(np.pad(pca.explained_variance_ratio_, (0, lacking)).tolist())
    return Plane(
        point_Mx2=point_Mx2,
        count_M=count_M,
        class_M=code_class[:, -1],
        names=[names[c] for c in shown],
        explained=explained,
    )


def _neighbours(bit_MxK: np.ndarray) -> np.ndarray | None:
    """Return where t-SNE puts codes, equal ones at one place; None of fewer than 4."""
    bit_SxK, place_M = np.unique(bit_MxK, axis=0, return_inverse=True)
    if len(bit_SxK) < 4:
        return None
    # Squares of Euclidean distances, which t-SNE takes, are Hamming distances of bits.
    perplexity = min(30.0, (len(bit_SxK) - 1) / 3)
    fitted = TSNE(perplexity=perplexity, init="pca", method="exact", random_state=0)
    return fitted.fit_transform(bit_SxK.astype(np.float32))[place_M.ravel()]
