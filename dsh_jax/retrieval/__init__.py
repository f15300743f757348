"""Hamming retrieval: counts by distance, which are all that a tie-aware metric needs, and search.

index.py holds a database; counts.py and `search` are uses of it for one call. counting.py chooses
between all_codes.py, class_planes.py, bit_planes.py and scatter.py; nearest.py between
group_search.py and direct_search.py; gpu_counts.py and gpu_search.py take their place on a GPU.
few_queries.py searches on the host. All give the same numbers. linear.py does the same for
real-valued distances.
"""

from dsh_jax.retrieval.counts import distance_counts, shared_label_counts
from dsh_jax.retrieval.index import Index, search
from dsh_jax.retrieval.linear import (
    asymmetric,
    linear_counts,
    linear_metric,
    linear_search,
    weighted_hamming,
)

__all__ = [
    "Index",
    "asymmetric",
    "distance_counts",
    "linear_counts",
    "linear_metric",
    "linear_search",
    "search",
    "shared_label_counts",
    "weighted_hamming",
]
