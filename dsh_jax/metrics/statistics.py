"""How far a mean over queries can be trusted: intervals and paired comparisons, on the host.

A query is the unit of resampling, so the answers hold for other queries of the same kind, against
this database and these codes; training with another seed can move a mean by more than that.
"""

import dataclasses

import numpy as np
from scipy import stats

# Values in work at a time, about 100 MB.
_BLOCK = 2**22


def bootstrap_interval(
    value_Q: np.ndarray, *, seed: int, resamples: int = 10_000, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over queries.

    The (1 - level)/2 and (1 + level)/2 quantiles of the means of `resamples` draws of Q queries,
    with replacement, from the Q there are.

    Args:
      value_Q: a metric's value for each query; at least 2, none NaN.
      seed: of the draws.
      resamples: number of draws.
      level: the probability that the interval is to cover, between 0 and 1.

    Returns:
      (low, high).

    Raises:
      ValueError: if value_Q, resamples or level is not as described.

    Source: Efron, The Annals of Statistics 7(1), 1979.
    """
    value_Q = _checked(value_Q, "values", resamples)
    if not 0 < level < 1:
        raise ValueError(f"level={level}; pass a probability between 0 and 1, such as 0.95")
    interval = stats.bootstrap(
        (value_Q,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BLOCK // len(value_Q)),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


@dataclasses.dataclass(frozen=True)
class PairedComparison:
    """Two methods, a and b, on the same queries.

    Attributes:
      difference: mean of a - b over the queries.
      interval: (low, high), the bootstrap interval of that mean at 95 %.
      p_value: two-sided, of the hypothesis that a and b could be exchanged in every query.
      wins, ties, losses: queries in which a is above, equal to and below b.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    wins: int
    ties: int
    losses: int


def paired_comparison(
    a_Q: np.ndarray, b_Q: np.ndarray, *, seed: int, resamples: int = 10_000
) -> PairedComparison:
    """Compare two methods by their values on the same queries.

    p = (1 + #{random signs ε : |Σ ε_q (a_q - b_q)| ≥ |Σ (a_q - b_q)|}) / (1 + resamples)

    Args:
      a_Q, b_Q: a metric's value for each query, in the same order; at least 2, none NaN.
      seed: of the bootstrap's draws and of the signs.
      resamples: number of draws, and number of sign vectors.

    Returns:
      PairedComparison; its p_value is 1/(1 + resamples) or more.

    Raises:
      ValueError: if a_Q, b_Q or resamples is not as described.

    Source: Fisher, The Design of Experiments, 1935; compared with others for retrieval by Smucker,
    Allan and Carterette, CIKM 2007.
    """
    a_Q, b_Q = _checked(a_Q, "a", resamples), _checked(b_Q, "b", resamples)
    if len(a_Q) != len(b_Q):
        raise ValueError(
            f"a has {len(a_Q)} queries, b {len(b_Q)}; pass the values of the same queries"
        )
    difference_Q = a_Q - b_Q
    # Equal sums may differ in their last digits, by the order in which they were added.
    least = abs(difference_Q.sum()) - 1e-12 * abs(difference_Q).sum()
    rng, extreme = np.random.default_rng(seed), 0
    block = max(1, _BLOCK // len(a_Q))
    for start in range(0, resamples, block):
        size = min(block, resamples - start), len(a_Q)
        sign_BxQ = 2.0 * rng.integers(2, size=size, dtype=np.uint8) - 1
        extreme += int(np.sum(abs(sign_BxQ @ difference_Q) >= least))
    return PairedComparison(
        difference=float(difference_Q.mean()),
        interval=bootstrap_interval(difference_Q, seed=seed, resamples=resamples),
        p_value=(1 + extreme) / (1 + resamples),
        wins=int(np.sum(difference_Q > 0)),
        ties=int(np.sum(difference_Q == 0)),
        losses=int(np.sum(difference_Q < 0)),
    )


def _checked(value, name, resamples):
    """The values as float64."""
    value = np.asarray(value, np.float64)
    if value.ndim != 1 or len(value) < 2:
        raise ValueError(f"{name} have shape {value.shape}; pass one value per query, 2 or more")
    undefined = int(np.isnan(value).sum())
    if undefined:
        raise ValueError(
            f"{undefined} of {len(value)} {name} are NaN, queries that a metric skipped; leave "
            "those queries out (of both methods, if two are compared) or have them count as 0"
        )
    if resamples < 1:
        raise ValueError(f"resamples={resamples}; pass at least 1")
    return value
