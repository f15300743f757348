"""Every row is encoded once, in its place, as the network alone would encode it."""

import dataclasses
import re

import jax
import numpy as np
import pytest
import tiny

from dsh_jax import codes
from dsh_jax.augment import pad_small, to_unit
from dsh_jax.evaluation.encode import encode_rows, make_encoder, near_zero
from dsh_jax.network import DSH

MODEL = DSH(bits=12, classes=10, shape=(32, 32, 1), width=1 / 32, fc_dim=8, axis_name="batch")
SOURCE = tiny.source(side=28)
ROWS = np.array([30, 2, 3, 39, 0, 17, 18, 19, 5, 4, 21])  # 11: divides by no batch and no device


@pytest.fixture(scope="module")
def variables():
    return jax.jit(MODEL.init)(jax.random.PRNGKey(0), np.zeros((1, 32, 32, 1), np.float32))


@pytest.fixture(scope="module")
def encoder(variables):
    encoder = make_encoder(MODEL)
    encode_rows(encoder, variables, SOURCE, ROWS[:1], batch=8)
    return encoder


@pytest.fixture(scope="module")
def wanted(variables):
    """The network's outputs for ROWS, in one batch on one device."""
    image = pad_small(to_unit(SOURCE.images.take(ROWS)))
    return jax.jit(lambda image: MODEL.apply(variables, image, decode=False))(image)


def test_codes_are_those_of_the_network_in_the_order_of_the_rows(encoder, variables, wanted):
    encoded = encode_rows(encoder, variables, SOURCE, ROWS, batch=8, activations=True)
    packed = codes.pack_bits(codes.binarize(wanted.logit))
    np.testing.assert_array_equal(encoded.packed_NxW, packed)
    np.testing.assert_allclose(encoded.bcoding_NxK, wanted.bcoding, rtol=1e-4, atol=1e-6)


def test_batch_that_does_not_divide_by_the_devices_is_made_larger(encoder, variables, wanted):
    encoded = encode_rows(encoder, variables, SOURCE, ROWS, batch=5)
    packed = codes.pack_bits(codes.binarize(wanted.logit))
    np.testing.assert_array_equal(encoded.packed_NxW, packed)
    assert encoded.bcoding_NxK is None  # not asked for


def test_class_is_right_where_the_highest_score_has_a_label(encoder, variables, wanted):
    best = np.asarray(wanted.score).argmax(-1)
    label_NxC = np.zeros_like(SOURCE.label_NxC)
    right = np.arange(len(ROWS)) % 2 == 0
    label_NxC[ROWS, best] = right
    label_NxC[ROWS, (best + 1) % 10] = 1
    source = dataclasses.replace(SOURCE, label_NxC=label_NxC, multilabel=True)
    encoded = encode_rows(encoder, variables, source, ROWS, batch=8)
    np.testing.assert_array_equal(encoded.is_right_N, right)


def test_class_by_bits_is_that_of_the_bits_in_place_of_activations(encoder, variables, wanted):
    bit = np.asarray(codes.binarize(wanted.logit), np.float32)
    score = bit @ np.asarray(variables["params"]["classifier"]["kernel"])
    encoded = encode_rows(encoder, variables, SOURCE, ROWS, batch=8)
    right = SOURCE.label_NxC[ROWS, score.argmax(-1)] > 0
    np.testing.assert_array_equal(encoded.is_right_by_bits_N, right)


def test_bits_near_zero_are_counted_of_the_root_mean_square():
    # Its root mean square is 5, so the bound .05: .04 and −.03 are below it, .06 is not.
    logit = np.array([[0.04, -0.03, 0.06, -10.0], [1.0, 1.0, 1.0, -1.0]], np.float32)
    np.testing.assert_array_equal(near_zero(logit, 0.01), [2, 0])


def test_products_of_codes_are_in_float32(variables):
    images = jax.ShapeDtypeStruct((4, 2, *SOURCE.images.shape), np.uint8)
    text = make_encoder(MODEL).lower(variables, images).as_text()
    products = [line for line in text.splitlines() if re.search("dot_general|convolution", line)]
    exact = [line for line in products if "HIGHEST" in line]
    assert len(exact) == len(products) > 5


def test_no_rows_are_refused(encoder, variables):
    with pytest.raises(ValueError, match="there are no rows to encode"):
        encode_rows(encoder, variables, SOURCE, ROWS[:0], batch=8)
