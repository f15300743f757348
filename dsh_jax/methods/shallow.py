"""The shallow methods by name: each fits features and encodes them, see `methods`."""

from dsh_jax.methods import bihalf, itq, lsh, sdh, spectral

METHODS = {"lsh": lsh, "sh": spectral, "itq": itq, "sdh": sdh, "bihalf": bihalf}
