"""Codes of predicted classes: what they are, and the mAP that accuracy alone gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsh_jax import codes, metrics, retrieval
from dsh_jax.methods import classifier_code

key = jax.random.PRNGKey(0)


def test_index_codes_by_hand():
    code = classifier_code.index_codes(5, 4)
    bit = [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(code, 2 * np.array(bit) - 1)


def test_index_codes_of_more_bits_than_a_number_has():
    bit = (np.asarray(classifier_code.index_codes(7, 48)) + 1) / 2
    assert not bit[:, 3:].any()
    np.testing.assert_array_equal(bit[:, :3] @ [1, 2, 4], np.arange(7))


def test_few_bits_are_refused():
    assert classifier_code.index_codes(8, 3).shape == (8, 3)
    with pytest.raises(ValueError, match="3 bits cannot number 9 classes; take 4 bits or more"):
        classifier_code.encode(jnp.ones((2, 9)), 3)


@pytest.mark.parametrize("random", [False, True])
def test_rows_have_one_code_a_predicted_class(random):
    score = np.random.default_rng(0).normal(size=(200, 10)).astype(np.float32)
    logit = np.asarray(classifier_code.encode(score, 12, key=key if random else None))
    predicted = score.argmax(1)
    assert logit.shape == (200, 12)
    assert set(np.unique(logit)) == {-1, 1}
    same_code = (logit[:, None] == logit[None]).all(-1)
    np.testing.assert_array_equal(same_code, predicted[:, None] == predicted[None])


def test_queries_and_database_share_the_random_codes():
    one, other = (classifier_code.encode(jnp.eye(10), 12, key=k) for k in (key, key))
    np.testing.assert_array_equal(one, other)
    assert (one != classifier_code.encode(jnp.eye(10), 12, key=jax.random.PRNGKey(1))).any()


def test_perfect_scores_have_average_precision_one():
    label = np.eye(10, dtype=np.uint8)[np.arange(60) % 10]
    packed = codes.pack_bits(codes.binarize(classifier_code.encode(label * 1.0, 8)))
    counts = retrieval.distance_counts(packed[:20], label[:20], packed, label, bits=8)
    np.testing.assert_allclose(metrics.average_precision(*counts), np.ones(20), rtol=1e-6)
