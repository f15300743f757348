"""Shallow methods on MNIST and CIFAR-10 against published numbers; minutes, so marked slow.

mAP is tie-aware and over the whole ranking, of 1,000 queries drawn from the test images. The
database, and what methods without labels are fitted to, is the other 9,000 of them, which gives the
published mAP; the published precision of MNIST is that of its 60,000 training images. MNIST's
features are pixels, CIFAR-10's GIST.
"""

import os

import jax
import numpy as np
import pytest

from dsh_jax import codes, metrics, retrieval
from dsh_jax.data import sources
from dsh_jax.methods import itq, lsh, sdh, spectral
from dsh_jax.methods.features import gist

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("TFDS_DATA_DIR"), reason="TFDS_DATA_DIR does not name prepared sets"
    ),
]
BITS = (12, 24, 32, 48)
SEEDS = range(10)


def prepared(name):
    try:
        return sources.load(name)
    except ValueError as error:
        pytest.skip(f"{name} is not there: {error}")


@pytest.fixture(scope="module")
def cifar10():
    """GIST and labels of the test images, all of which are test images."""
    source = prepared("cifar10")
    test = np.flatnonzero(source.official["query"])
    feature = np.asarray(gist.gist(source.images.take(test).astype(np.float32)))
    return feature, source.label_NxC[test], np.ones(len(test), bool)


@pytest.fixture(scope="module")
def mnist():
    """Pixels 0 to 255, labels, and which rows are test images."""
    source = prepared("mnist")
    feature = source.images.take(np.arange(len(source))).reshape(len(source), -1)
    return feature, source.label_NxC, source.official["query"]


def drawn(is_test, seed, database):
    """Rows of queries and of the database."""
    test = np.flatnonzero(is_test)
    query = np.random.default_rng(seed).choice(test, 1000, replace=False)
    return query, np.setdiff1d(test, query) if database == "test" else np.flatnonzero(~is_test)


def counts(data, encode, query, database, bits):
    feature, label, _ = data
    packed = [
        np.asarray(codes.pack_bits(codes.binarize(encode(feature[rows]))))
        for rows in (query, database)
    ]
    return retrieval.distance_counts(packed[0], label[query], packed[1], label[database], bits=bits)


def mean_map(data, method, bits, **options):
    """mAP by the mean over the seeds, of methods without labels."""
    values = []
    for seed in SEEDS:
        query, database = drawn(data[2], seed, "test")
        parameters = method.fit(jax.random.key(seed), data[0][database], bits, **options)

        def encode(feature, parameters=parameters):
            return method.encode(parameters, feature)

        values.append(
            np.mean(metrics.average_precision(*counts(data, encode, query, database, bits)))
        )
    return np.mean(values)


@pytest.mark.parametrize(
    ("method", "published", "error"),
    [
        (itq, (0.404, 0.442, 0.447, 0.460), 0.012),
        (spectral, (0.290, 0.278, 0.260, 0.254), 0.03),
        (lsh, (0.162, 0.236, 0.222, 0.276), 0.03),
    ],
    ids=["itq", "spectral", "lsh"],
)
def test_map_is_the_published_one(mnist, method, published, error):
    found = [mean_map(mnist, method, bits) for bits in BITS]
    np.testing.assert_allclose(found, published, rtol=0, atol=error)


@pytest.mark.parametrize(
    ("method", "published"),
    [
        (itq, (0.158, 0.163, 0.168, 0.169)),
        (spectral, (0.124, 0.125, 0.125, 0.126)),
        (lsh, (0.116, 0.121, 0.124, 0.131)),
    ],
    ids=["itq", "spectral", "lsh"],
)
def test_map_of_gist_is_the_published_one(cifar10, method, published):
    found = [mean_map(cifar10, method, bits) for bits in BITS]
    np.testing.assert_allclose(found, published, rtol=0, atol=0.015)


def test_precision_of_itq_is_the_published_one(mnist):
    values = []
    for seed in SEEDS:
        query, database = drawn(mnist[2], seed, "train")
        parameters = itq.fit(jax.random.key(seed), mnist[0][database], 48)

        def encode(feature, parameters=parameters):
            return itq.encode(parameters, feature)

        total, relevant = counts(mnist, encode, query, database, 48)
        ranks = [100, 200, 400, 600, 800, 1000]
        values.append(np.mean(metrics.precision_at(total, relevant, ranks), axis=1))
    published = (0.82, 0.80, 0.77, 0.74, 0.72, 0.71)
    np.testing.assert_allclose(np.mean(values, axis=0), published, rtol=0, atol=0.03)


def supervised_map(mnist, seed, bits, **options):
    """mAP of SDH fitted to 5,000 labelled training images."""
    feature, label, is_test = mnist
    query, database = drawn(is_test, seed, "test")
    train = np.random.default_rng(seed).choice(np.flatnonzero(~is_test), 5000, replace=False)
    parameters = sdh.fit(jax.random.key(seed), feature[train], label[train], bits, **options)

    def encode(feature):
        return sdh.encode(parameters, feature)

    return np.mean(metrics.average_precision(*counts(mnist, encode, query, database, bits)))


def test_map_of_sdh(mnist):
    found = [np.mean([supervised_map(mnist, seed, bits) for seed in range(5)]) for bits in (12, 48)]
    np.testing.assert_allclose(found, (0.90, 0.92), rtol=0, atol=0.02)


def test_sdh_is_at_chance_where_its_kernel_is_too_narrow(mnist):
    assert supervised_map(mnist, 0, 12, normalise=False, sigma=0.4) == pytest.approx(0.1, abs=0.01)
