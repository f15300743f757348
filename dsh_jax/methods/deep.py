"""The other deep methods of the comparison, for the one training loop: objectives and heads.

Each objective is `(outputs, image, batch, axis_name) -> (total, terms)` as the paper's is, see
`objectives.hashing_objective`. A method reads the rows with labels, unless it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dsh_jax import losses
from dsh_jax.losses import centres, pairs, ranking, triplets
from dsh_jax.losses.objectives import Terms, hashing_objective
from dsh_jax.methods import classifier_code, cnnh, ssdh_zhang
from dsh_jax.methods.drsch import BitScalableHead
from dsh_jax.methods.greedyhash import GreedyHead, greedyhash
from dsh_jax.methods.ninh import DivideAndEncode

Objective = Callable[..., tuple[jax.Array, Terms]]

# What a method changes in the network, as options of `network.DSH`.
NETWORKS = {
    "greedyhash": {"head": GreedyHead},
    "ninh": {"head": DivideAndEncode},
    "drsch": {"head": BitScalableHead},
    "ssdh_zhang": {"classify_from": "feature"},
    "classifier_code": {"classify_from": "feature", "class_codes": classifier_code.class_codes},
}
# Growth of the steepness β, see `step.beta_schedule`, of methods that need one: HashNet's.
GROWTH = {"hashnet": 0.005, "drsch": 0.005}
# Those whose objectives read codes alone, and leave the classifier as it starts.
OF_CODES = ("hashnet", "dpsh", "dsh", "dtsh", "csq", "orthohash", "cnnh", "ninh", "drsch")
OF_CODES += ("dhn", "dch", "idhn", "dpn", "talr", "mihash")
FIXED = 0  # seed of centres and of CNNH's codes, whatever a run's own


def trained_parts(method: str) -> tuple[str, ...]:
    """Return the parts of the network that the gradient of a method's objective reaches.

    Args:
      method: its name.

    Returns:
      Names of children of `network.DSH`, without the decoder.
    """
    if method == "classifier_code":  # no hash at all
        return "encoder", "classifier"
    return ("encoder", "bcoding") if method in OF_CODES else ("encoder", "bcoding", "classifier")


def columns(
    method: str, label_NxC: np.ndarray, labelled: np.ndarray, *, bits: int
) -> dict[str, np.ndarray]:
    """Return what a method's batches hold besides images and labels.

    Args:
      method: its name.
      label_NxC: multi-hot, of every row.
      labelled: numbers of the rows whose labels may be read.
      bits: K.

    Returns:
      Of CNNH, `target` [N, K]: codes in {−1, 1} from the labels alone, 0 for rows without.
    """
    if method not in ("cnnh", "cnnh_plus"):
        return {}
    target_NxK = np.zeros((len(label_NxC), bits), np.float32)
    target_NxK[labelled] = cnnh.fit_codes(jax.random.PRNGKey(FIXED), label_NxC[labelled], bits=bits)
    return {"target": target_NxK}


def objective(
    method: str, *, classes: int, bits: int, multilabel: bool, options: Mapping[str, float]
) -> Objective | None:
    """Return the objective of a method.

    Args:
      method: its name.
      classes: C.
      bits: K.
      multilabel: whether the labels are multi-label.
      options: of `weight`, `margin`, `scale` and `pairwise`, those that are not the method's own.

    Returns:
      The objective; None for `dhs`, whose own is `objectives.hashing_objective`.

    Raises:
      ValueError: for an unknown method, or an option that it has not.
    """
    if method == "dhs":
        return None
    if method not in OBJECTIVES:
        raise ValueError(
            f"method is {method!r}; a network is trained by dhs, {', '.join(OBJECTIVES)}. Others, "
            "lsh, sh, pcah, itq, sdh, bihalf and adsh, fit features and are whole when "
            "experiments.train has run."
        )
    make, known = OBJECTIVES[method]
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(
            f"deep.{unknown[0]} is {options[unknown[0]]}, but {method} has no such option; leave "
            f"it out. It has: {', '.join(known) or 'none'}."
        )
    given = {known[name]: value for name, value in options.items()}
    return make(classes, bits, multilabel, given)


def _of_logits(loss: Callable) -> Callable:
    """Return the maker of an objective whose loss reads logits and labels."""

    def make(classes, bits, multilabel, options):
        def objective(outputs, image, batch, axis_name):
            labels = batch["label"], batch["is_labelled"]
            return loss(outputs.logit, *labels, axis_name=axis_name, **options)

        return objective

    return make


def _of_signed(loss: Callable) -> Callable:
    """Return the maker of an objective whose loss reads activations in (−1, 1) and labels."""

    def make(classes, bits, multilabel, options):
        def objective(outputs, image, batch, axis_name):
            labels = batch["label"], batch["is_labelled"]
            return loss(2 * outputs.bcoding - 1, *labels, axis_name=axis_name, **options)

        return objective

    return make


def _of_triplets(loss: Callable, read: str) -> Callable:
    """Return the maker of an objective whose loss draws triplets of an output's rows."""

    def make(classes, bits, multilabel, options):
        def objective(outputs, image, batch, axis_name):
            labels = batch["label"], batch["is_labelled"]
            value = getattr(outputs, read)
            return loss(batch["key"], value, *labels, axis_name=axis_name, **options)

        return objective

    return make


def _ssdh_zhang(classes, bits, multilabel, options):
    def objective(outputs, image, batch, axis_name):
        return ssdh_zhang.ssdh(
            batch["key"],
            outputs.bcoding,
            outputs.feature,
            outputs.score,
            batch["label"],
            batch["is_labelled"],
            axis_name=axis_name,
            **options,
        )

    return objective


def _ssdh_yang(classes, bits, multilabel, options):
    # K1 and K2 are halves of the binarization and balance terms.
    weights = {"y": 0.5, "z": 0.5} | options
    return hashing_objective(multilabel=multilabel, applied_to="bcoding", **weights)


def _classifier_code(classes, bits, multilabel, options):
    return hashing_objective(multilabel=multilabel, applied_to="bcoding", y=0.0, z=0.0)


def _of_centres(loss: Callable, draw: Callable) -> Callable:
    """Return the maker of an objective whose loss pulls rows to the majority of their centres."""

    def make(classes, bits, multilabel, options):
        centre_key, tie_key = jax.random.split(jax.random.PRNGKey(FIXED))
        fixed = {
            "centre_CxK": draw(centre_key, classes, bits),
            "tie_K": jax.random.rademacher(tie_key, (bits,), jnp.float32),
        }
        return _of_logits(loss)(classes, bits, multilabel, fixed | options)

    return make


def _orthohash(classes, bits, multilabel, options):
    fixed = {"centre_CxK": centres.bernoulli_centres(jax.random.PRNGKey(FIXED), classes, bits)}
    return _of_logits(centres.orthohash)(classes, bits, multilabel, fixed | options)


def _greedyhash(classes, bits, multilabel, options):
    def objective(outputs, image, batch, axis_name):
        labels = batch["label"], batch["is_labelled"]
        return greedyhash(
            outputs.score,
            outputs.logit,
            *labels,
            multilabel=multilabel,
            axis_name=axis_name,
            **options,
        )

    return objective


def _cnnh(classes, bits, multilabel, options, *, plus: bool = False):
    def objective(outputs, image, batch, axis_name):
        where_B = losses.has_label(batch["label"], batch["is_labelled"])
        value_B = cnnh.codes_loss(outputs.bcoding, batch["target"])
        terms = {"codes": losses.masked_mean(value_B, where_B, axis_name=axis_name)}
        if not plus:
            return terms["codes"], terms
        classify = losses.multilabel_cross_entropy if multilabel else losses.softmax_cross_entropy
        value_B = classify(outputs.score, batch["label"])
        terms["classification"] = losses.masked_mean(value_B, where_B, axis_name=axis_name)
        return terms["codes"] + options.get("weight", 1.0) * terms["classification"], terms

    return objective


def _cnnh_plus(classes, bits, multilabel, options):
    return _cnnh(classes, bits, multilabel, options, plus=True)


# Name to the maker of its objective, and what it calls the options that it has.
OBJECTIVES = {
    "hashnet": (_of_signed(pairs.hashnet), {"scale": "alpha"}),
    "dhn": (_of_signed(pairs.dhn), {"weight": "weight"}),
    "dch": (_of_logits(pairs.dch), {"weight": "weight", "scale": "gamma"}),
    "idhn": (_of_signed(pairs.idhn), {"weight": "weight", "pairwise": "soft"}),
    "dpn": (_of_centres(centres.dpn, centres.bernoulli_centres), {"margin": "margin"}),
    "talr": (_of_signed(ranking.talr), {}),
    "mihash": (_of_signed(ranking.mihash), {}),
    "dpsh": (_of_logits(pairs.dpsh), {"weight": "eta"}),
    "dsh": (_of_logits(pairs.dsh), {"weight": "alpha", "margin": "margin"}),
    "dtsh": (_of_triplets(triplets.dtsh, "logit"), {"weight": "eta", "margin": "margin"}),
    "csq": (
        _of_centres(centres.csq, centres.hash_centres),
        {"weight": "quantization", "pairwise": "pairwise"},
    ),
    "orthohash": (_orthohash, {"scale": "scale", "margin": "margin"}),
    "greedyhash": (_greedyhash, {"weight": "alpha"}),
    "cnnh": (_cnnh, {}),
    "cnnh_plus": (_cnnh_plus, {"weight": "weight"}),
    "ninh": (_of_triplets(triplets.ninh, "code"), {"margin": "margin"}),
    "drsch": (_of_triplets(triplets.drsch, "code"), {"weight": "laplacian", "margin": "floor"}),
    "ssdh_zhang": (_ssdh_zhang, {"weight": "unlabelled", "margin": "margin"}),
    "ssdh_yang": (_ssdh_yang, {"weight": "y"}),
    "classifier_code": (_classifier_code, {}),
}
