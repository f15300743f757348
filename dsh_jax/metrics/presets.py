"""mAP as other public evaluators print it, so that our codes can be compared with their numbers.

Each takes (query_QxW, query_label_QxC, database_RxW, database_label_RxC, *, bits) as
`retrieval.distance_counts` does, some also k, and returns one float, the mean over the queries.
Items are relevant where they share a label with the query. Where the order of the original's sort
is not defined for ties, ours is: the lower row first. All raise ValueError for what does not fit.
"""

from collections.abc import Iterator

import jax
import numpy as np

from dsh_jax.codes import check_codes
from dsh_jax.metrics import tie_aware
from dsh_jax.metrics.ranked import average_precision_ranked, ranked_relevance
from dsh_jax.retrieval import distance_counts

QUERY_BLOCK = 256  # queries in work at a time


def deephash_pytorch(query, query_label, database, database_label, *, bits, k=-1) -> float:
    """Return mAP as `CalcTopMap` prints it.

    AP@k is divided by the relevant items among the first k; a query without any there counts as 0.
    k = -1, which is meant as all, drops the last item; other k are cut to the database's size.
    Differs from ours: that, and the stable order in place of tie-aware (theirs is undefined).

    Args, Returns, Raises: see the top of the file; k: ranks, -1 or at least 1.

    Source: github.com/swuxyj/DeepHash-pytorch, utils/tools.py.
    """
    depth = len(database) - 1 if k == -1 else min(k, len(database))
    return _mean(_ap_in_topk(query, query_label, database, database_label, bits, depth)[0])


def hashnet(query, query_label, database, database_label, *, bits, k=None) -> float:
    """Return mAP@k as HashNet and DeepHash of thulab print it.

    AP@k is divided by the relevant items among the first k; a query without any there is left out
    of the mean, which raises it. NaN if all are left out.
    Differs from ours: that, and the stable order in place of tie-aware (theirs is undefined).
    It ranks by inner product: of signs that is Hamming, but HashNet's Caffe program keeps the query
    real-valued.

    Args, Returns, Raises: see the top of the file; k: ranks, the whole database by default.

    Source: Cao, Long, Wang and Yu, ICCV 2017; github.com/thuml/HashNet, github.com/thulab/DeepHash.
    """
    ap_Q, hits_Q, _ = _ap_in_topk(query, query_label, database, database_label, bits, k)
    return _mean(ap_Q[hits_Q > 0])


def orthohash(query, query_label, database, database_label, *, bits, k=None) -> float:
    """Return mAP@k as OrthoHash prints it: HashNet's, but a query without hits counts as 0.

    AP@k is divided by the relevant items among the first k.
    Differs from ours: that, and the stable order in place of tie-aware (theirs is undefined).

    Args, Returns, Raises: see the top of the file; k: ranks, the whole database by default.

    Source: Hoe, Ng, Zhang, Chan, Song and Xiang, NeurIPS 2021; github.com/kamwoh/orthohash.
    """
    return _mean(_ap_in_topk(query, query_label, database, database_label, bits, k)[0])


def csq(query, query_label, database, database_label, *, bits, k=None) -> float:
    """Return mAP@k as CSQ prints it: OrthoHash's, but a query without a label is left out.

    AP@k is divided by the relevant items among the first k; a query that has labels but no hit
    counts as 0. NaN if no query has a label.
    Differs from ours: that, and the stable order in place of tie-aware (theirs is undefined).

    Args, Returns, Raises: see the top of the file; k: ranks, the whole database by default.

    Source: Yuan, Wang, Zhang, Tay, Jie, Liu and Feng, CVPR 2020;
    github.com/yuanli2333/Hadamard-Matrix-for-hashing, test.py.
    """
    ap_Q, _, _ = _ap_in_topk(query, query_label, database, database_label, bits, k)
    return _mean(ap_Q[(np.asarray(query_label) > 0).any(axis=1)])


def area_rp(query, query_label, database, database_label, *, bits) -> float:
    """Return the area under precision and recall as `area_RP.m` of MATLAB programs prints it.

    By trapezoids over the radii 0, 1, … below the largest distance that occurs, of the pairs of all
    queries together; from recall 0 to that of the first radius the precision is that radius's.
    Printed as "mAP", but it is none: long rankings weigh more, and the curve may end before recall
    1. NaN where no pair is relevant or all are at distance 0.

    Args, Returns, Raises: see the top of the file.

    Source: `recall_precision.m` and `area_RP.m`, which go round with programs of spectral hashing,
    ITQ and their successors, such as github.com/bobomain/Semisupervised_NTH.
    """
    counts = distance_counts(query, query_label, database, database_label, bits=bits)
    total_D, relevant_D = (np.sum(count_QxD, axis=0, dtype=np.int64) for count_QxD in counts)
    radii = np.max(np.flatnonzero(total_D), initial=0)
    within_R, hits_R = np.cumsum(total_D)[:radii], np.cumsum(relevant_D)[:radii]
    is_filled_R = within_R > 0
    if not is_filled_R.any() or not relevant_D.any():
        return float("nan")
    precision_R = hits_R[is_filled_R] / within_R[is_filled_R]
    recall_R = hits_R[is_filled_R] / relevant_D.sum()
    # Of radii with one recall the first counts; an empty ball has the precision of the next.
    recall_N, first_N = np.unique(np.append(0, recall_R), return_index=True)
    return float(np.trapezoid(np.append(precision_R[0], precision_R)[first_N], recall_N))


def yang_precision(query, query_label, database, database_label, *, bits, k=1000) -> float:
    """Return mAP@k as `precision.m` of Yang, Lin and Chen prints it, by default of 1,000 ranks.

    AP@k is divided by the relevant items among the first k; a query without any there counts as 0.
    Differs from ours: that, and the stable order in place of tie-aware (MATLAB's sort is stable).
    The original compares class numbers, which for a single label is to share it.

    Args, Returns, Raises: see the top of the file; k: ranks.

    Source: Lin, Yang, Hsiao and Chen, CVPRW 2015; github.com/kevinlin311tw/caffe-cvprw15 and
    Caffe-DeepBinaryCode.
    """
    return orthohash(query, query_label, database, database_label, bits=bits, k=k)


def talr(query, query_label, database, database_label, *, bits) -> float:
    """Return the tie-aware mAP as `tieAP.m` of TALR prints it, whatever cutoff it is given.

    Differs from ours: a query without any relevant item counts as 0 as ours does, but those after
    the last query with one are left out of the mean. 0 where the original stops: no query has any.

    Args, Returns, Raises: see the top of the file.

    Source: He, Cakir, Bargal and Sclaroff, CVPR 2018; github.com/kunhe/TALR.
    """
    counts = distance_counts(query, query_label, database, database_label, bits=bits)
    last = np.max(np.flatnonzero(counts[1].sum(axis=1)), initial=0)
    return _mean(tie_aware.average_precision(*counts)[: last + 1])


def talr_cutoff(query, query_label, database, database_label, *, bits, k=None) -> float:
    """Return mAP@k as `AP.m` of TALR prints it, "random tiebreak".

    AP@k = (1/M_k) Σ_{1 < i ≤ k} rel_i M_i / i: the sum starts at rank 2, so that a relevant nearest
    item costs 1/M_k and a perfect ranking scores 1 - 1/M_k.
    Differs from ours: that, the division by M_k, and ties by the lower row, not at random.

    Args, Returns, Raises: see the top of the file; k: ranks, the whole database by default, and
      cut to its size.

    Source: He, Cakir, Bargal and Sclaroff, CVPR 2018; github.com/kunhe/TALR.
    """
    k = len(database) if k is None else min(k, len(database))
    ap_Q, hits_Q, first_Q = _ap_in_topk(query, query_label, database, database_label, bits, k)
    return _mean(ap_Q - first_Q / np.maximum(hits_Q, 1))


def printed(query, query_label, database, database_label, *, bits) -> float:
    """Return mAP by the formula that the paper prints, upside down: it exceeds 1.

    Differs from ours: k/M_k for M_k/k, see `metrics.average_precision_printed`; the
    stable order in place of tie-aware. The paper's own numbers are below 1, so they are not this.

    Args, Returns, Raises: see the top of the file.

    Source: Bashir and Saleem, KSII TIIS 12(8), 2018, section 5.1.
    """
    rankings = _rankings(query, query_label, database, database_label, bits, None)
    return _mean(np.concatenate([tie_aware.average_precision_printed(x_QxR) for x_QxR in rankings]))


PRESETS = {
    "area_rp": area_rp,
    "csq": csq,
    "deephash_pytorch": deephash_pytorch,
    "hashnet": hashnet,
    "orthohash": orthohash,
    "printed": printed,
    "talr": talr,
    "talr_cutoff": talr_cutoff,
    "yang_precision": yang_precision,
}


def _rankings(query, query_label, database, database_label, bits, k) -> Iterator[jax.Array]:
    """The relevance of the first k ranks, some queries at a time."""
    check_codes(query, "query", bits=bits)
    check_codes(database, "database", bits=bits)
    k = len(database) if k is None else k
    for start in range(0, len(query), QUERY_BLOCK):
        block = slice(start, start + QUERY_BLOCK)
        yield ranked_relevance(query[block], query_label[block], database, database_label, k)


def _ap_in_topk(query, query_label, database, database_label, bits, k):
    """AP@k over the hits in the first k, the number of those hits, and whether rank 1 is one."""
    columns = []
    for relevant_Bxk in _rankings(query, query_label, database, database_label, bits, k):
        ap_B = average_precision_ranked(relevant_Bxk, denominator="in_topk")
        columns.append((ap_B, relevant_Bxk.sum(axis=1), relevant_Bxk[:, 0]))
    return tuple(np.concatenate(column) for column in zip(*columns, strict=True))


def _mean(ap_Q) -> float:
    return float(np.asarray(ap_Q, np.float64).mean()) if len(ap_Q) else float("nan")
