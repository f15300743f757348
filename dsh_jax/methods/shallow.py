"""The shallow methods by name: each fits features and encodes them, see `methods`."""

from dsh_jax.methods import adsh, bihalf, itq, lsh, pcah, sdh, spectral

METHODS = {
    "lsh": lsh,
    "sh": spectral,
    "pcah": pcah,
    "itq": itq,
    "sdh": sdh,
    "bihalf": bihalf,
    "adsh": adsh,
}
SUPERVISED = ("sdh", "adsh")  # fitted to labelled rows: `fit(key, feature_NxD, label_NxC, …)`
