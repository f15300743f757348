"""Items and ties by distance: what every metric of the counts is made of, and its checks."""

import jax.numpy as jnp
from jax import lax


def items_before(count_QxD):
    """N_d, or P_d: the items nearer than each distance."""
    return items_upto(count_QxD) - count_QxD


def tie_means(nearer_QxD, count_QxD):
    """Means of 1/i and of (i-N-1)/i over the ranks i = N+1 ... N+count; any number if count is 0.

    The second is 1 - (N+1) h with the first one, h. Where few ranks follow many, that difference
    loses its digits; there 1/i is expanded about the middle rank, to 2e-7 of the value.
    """
    h_QxD = _mean_reciprocal(nearer_QxD, count_QxD)
    middle_QxD = nearer_QxD + (count_QxD + 1) / 2
    width_QxD = count_QxD / middle_QxD
    unit_QxD = 1 / middle_QxD
    # Second and fourth central moment of the ranks, over the middle's square and fourth power.
    second_QxD = (width_QxD**2 - unit_QxD**2) / 12
    fourth_QxD = second_QxD * (3 * width_QxD**2 - 7 * unit_QxD**2) / 20
    expanded_QxD = (width_QxD - unit_QxD) / 2 - (nearer_QxD + 1) * unit_QxD * (
        second_QxD + fourth_QxD
    )
    return h_QxD, jnp.where(width_QxD < 1 / 8, expanded_QxD, 1 - (nearer_QxD + 1) * h_QxD)


def _mean_reciprocal(start_QxD, count_QxD):
    """Mean of 1/k over k = start+1 ... start+count; 0 where count is 0.

    A float32 difference of harmonic numbers loses all its digits at large ranks. So the first 8
    terms are added, and beyond them, with A = a + 1/2 and B = b + 1/2,
    H(b) - H(a) = log(B/A) + (B^-2 - A^-2)/24 - 7 (B^-4 - A^-4)/960,
    which is correct to 1e-7 of its value (Euler and Maclaurin).
    """
    stop_QxD = start_QxD + count_QxD
    first_QxD = sum(jnp.where((start_QxD < k) & (k <= stop_QxD), 1 / k, 0) for k in range(1, 9))
    a_QxD, b_QxD = jnp.maximum(start_QxD, 8), jnp.maximum(stop_QxD, 8)
    log_QxD = jnp.log1p((b_QxD - a_QxD) / (a_QxD + 0.5))
    # A^-2 and B^-2.
    a2_QxD, b2_QxD = (a_QxD + 0.5) ** -2, (b_QxD + 0.5) ** -2
    rest_QxD = log_QxD + (b2_QxD - a2_QxD) / 24 - 7 * (b2_QxD**2 - a2_QxD**2) / 960
    return (first_QxD + rest_QxD) / jnp.maximum(count_QxD, 1)


def check_ball(total, relevant, radius, empty_ball="zero"):
    check_counts(total, relevant)
    if not 0 <= radius < total.shape[1]:
        raise ValueError(f"radius={radius}; pass 0 to {total.shape[1] - 1}, the number of bits")
    if empty_ball not in ("zero", "skip"):
        raise ValueError(f'empty_ball={empty_ball!r}; pass "zero" or "skip"')


def items_upto(count_QxD):
    """The items up to each distance."""
    return lax.associative_scan(jnp.add, count_QxD, axis=1)  # 2.5 times as fast as cumsum on a CPU


def check_counts(total, relevant):
    if total.ndim != 2 or total.shape != relevant.shape:
        raise ValueError(
            f"total has shape {total.shape}, relevant {relevant.shape}; "
            "pass the two (queries, distances) matrices of one distance_counts call"
        )
