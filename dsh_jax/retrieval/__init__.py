"""Hamming retrieval: counts by distance, which are all that a tie-aware metric needs, and search.

counts.py chooses between all_codes.py, bit_planes.py and scatter.py; nearest.py between
group_search.py and direct_search.py. All give the same numbers. linear.py does the same for
real-valued distances.
"""

from dsh_jax.retrieval.counts import distance_counts, shared_label_counts
from dsh_jax.retrieval.linear import (
    asymmetric,
    linear_counts,
    linear_metric,
    linear_search,
    weighted_hamming,
)
from dsh_jax.retrieval.nearest import search

__all__ = [
    "asymmetric",
    "distance_counts",
    "linear_counts",
    "linear_metric",
    "linear_search",
    "search",
    "shared_label_counts",
    "weighted_hamming",
]
