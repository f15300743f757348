"""Blocks of rows, and what all shallow methods have in common: input, blocks, compilation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsh_jax.methods import adsh, bihalf, itq, lsh, pcah, sdh, spectral
from dsh_jax.methods.rows import map_blocks, sum_blocks

BITS = 6
LABEL = np.eye(3, dtype=np.uint8)[np.arange(90) % 3]


def fit_sdh(key, feature, bits=BITS):
    return sdh.fit(key, feature, LABEL[: len(feature)], bits, anchors=20, sigma=None)


def fit_adsh(key, feature, bits=BITS):
    return adsh.fit(key, feature, LABEL[: len(feature)], bits, rounds=2, hidden=16)


FITS = {
    "lsh": (functools.partial(lsh.fit, center=True), lsh.encode),
    "spectral": (spectral.fit, spectral.encode),
    "pcah": (pcah.fit, pcah.encode),
    "itq": (itq.fit, itq.encode),
    "sdh": (fit_sdh, sdh.encode),
    "bihalf": (functools.partial(bihalf.fit, center=True, steps=100), bihalf.encode),
    "adsh": (fit_adsh, adsh.encode),
}
every_method = pytest.mark.parametrize(("fit", "encode"), FITS.values(), ids=FITS)


def pixels(rows=90, columns=10):
    """Grey values that differ in variance between columns."""
    scale = np.linspace(1, 0.2, columns)
    return (np.random.default_rng(0).random((rows, columns)) * 255 * scale).astype(np.uint8)


# Blocks.


@pytest.mark.parametrize("block", [1, 3, 4, 7, 100])
def test_blocks_give_the_rows_in_order_and_their_sum(block):
    feature = np.arange(14).reshape(7, 2)
    doubled = map_blocks(lambda row: 2 * row, jnp.asarray(feature), block)
    np.testing.assert_array_equal(doubled, 2 * feature)
    total = sum_blocks(lambda row: row.sum(axis=0), jnp.asarray(feature), block)
    np.testing.assert_array_equal(total, feature.sum(axis=0))


def test_a_block_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="block=0; pass at least 1 row"):
        lsh.encode(lsh.fit(jax.random.key(0), pixels(), BITS), pixels(), block=0)


def temporary_bytes(function, parameters, rows):
    argument = jax.ShapeDtypeStruct((rows, 10), jnp.uint8)
    return function.lower(parameters, argument, block=64).compile().memory_analysis()


@every_method
def test_temporary_memory_does_not_grow_with_the_rows(fit, encode):
    parameters = fit(jax.random.key(0), pixels(), BITS)
    few, many = (
        temporary_bytes(encode, parameters, rows).temp_size_in_bytes for rows in (1_000, 20_000)
    )
    output = 20_000 * BITS * 4
    assert many <= few + output + 1_000


# All methods.


@every_method
@pytest.mark.parametrize("block", [1, 7, 64, 90, 1000])
def test_blocks_do_not_change_the_logits(fit, encode, block):
    parameters = fit(jax.random.key(0), pixels(), BITS)
    whole = encode(parameters, pixels(), block=90)
    assert whole.shape == (90, BITS)
    assert whole.dtype == jnp.float32
    blocked = encode(parameters, pixels(), block=block)
    np.testing.assert_allclose(blocked, whole, rtol=1e-4, atol=1e-4 * np.abs(whole).max())


@pytest.mark.parametrize("fit", [FITS[name][0] for name in ("lsh", "itq")])
def test_blocks_do_not_change_the_parameters(fit):
    whole = fit(jax.random.key(0), pixels(), BITS)
    blocked = fit(jax.random.key(0), pixels(), BITS, block=7)
    for found, wanted in zip(blocked, whole, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@every_method
@pytest.mark.parametrize("dtype", [np.float64, jnp.bfloat16])
def test_the_type_of_the_features_does_not_matter(fit, encode, dtype):
    parameters = fit(jax.random.key(0), pixels(), BITS)
    again = fit(jax.random.key(0), pixels().astype(dtype), BITS)
    for found, wanted in zip(again, parameters, strict=True):
        np.testing.assert_array_equal(found, wanted)
    logit = encode(parameters, pixels())
    np.testing.assert_array_equal(encode(parameters, pixels().astype(dtype)), logit)


@every_method
def test_equal_keys_give_equal_parameters(fit, encode):
    first, second = (fit(jax.random.key(3), pixels(), BITS) for _ in range(2))
    for found, wanted in zip(second, first, strict=True):
        np.testing.assert_array_equal(found, wanted)


@every_method
def test_a_fit_and_encoding_compile_once(fit, encode):
    other = np.flip(pixels(), axis=0)
    encode(fit(jax.random.key(0), pixels(), BITS), other)
    with jax.no_tracing():
        encode(fit(jax.random.key(1), other, BITS), pixels())


@every_method
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(fit, encode, value):
    feature = pixels().astype(np.float32)
    feature[[5, 8], 2] = value
    with pytest.raises(ValueError, match=r"2 rows of the features have NaN .* first is row 5"):
        fit(jax.random.key(0), feature, BITS)


@every_method
def test_a_row_with_nan_has_nan_and_leaves_others_alone(fit, encode):
    parameters = fit(jax.random.key(0), pixels(), BITS)
    feature = pixels().astype(np.float32)
    wanted = np.array(encode(parameters, feature))
    feature[5, 2] = wanted[5] = np.nan
    np.testing.assert_array_equal(encode(parameters, feature), wanted)


@every_method
@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (pixels()[:, 0], r"have shape \(90,\) and type uint8; wanted real numbers, \(rows"),
        (pixels()[:0], r"have shape \(0, 10\)"),
        (pixels()[:, :0], r"have shape \(90, 0\)"),
        (pixels().reshape(90, 5, 2), r"have shape \(90, 5, 2\)"),
        (pixels().astype(np.complex64), "type complex64"),
    ],
)
def test_what_is_no_matrix_of_real_numbers_is_refused(fit, encode, feature, message):
    with pytest.raises(ValueError, match=message):
        fit(jax.random.key(0), feature, BITS)
    with pytest.raises(ValueError, match=message):
        encode(fit(jax.random.key(0), pixels(), BITS), feature)


@every_method
def test_features_of_another_width_are_refused(fit, encode):
    parameters = fit(jax.random.key(0), pixels(), BITS)
    with pytest.raises(ValueError, match="have 9 columns, the parameters were fitted to 10"):
        encode(parameters, pixels()[:, :9])


@every_method
@pytest.mark.parametrize("bits", [0, -1, 2.5])
def test_bits_that_are_no_positive_number_are_refused(fit, encode, bits):
    with pytest.raises(ValueError, match=f"bits={bits}; pass a whole number of bits, at least 1"):
        fit(jax.random.key(0), pixels(), bits)
