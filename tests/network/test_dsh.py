"""Equation (3) in each reading, shapes, parameter counts by hand, statistics over four devices."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax.network import DSH, BcodingHead, Encoder, bcoding_activation
from dsh_jax.network.blocks import scaled_filters

SHAPE = (32, 32, 1)
SIGMOID_1 = 1 / (1 + np.exp(-1))  # 0.7311: the printed head's activation at z = 0
logits = st.floats(-8, 8, width=32).filter(lambda z: abs(z) > 1e-3)


def network(**options):
    options = {"bits": 6, "classes": 3, "shape": SHAPE, "width": 1 / 64, "fc_dim": 8} | options
    return DSH(**options)


def images(rows, shape=SHAPE, seed=0):
    """Coarse patterns of random contrast: pixels drawn apart all look alike after five pools."""
    rng = np.random.default_rng(seed)
    pattern = rng.random((rows, 4, 4, shape[2])) * rng.random((rows, 1, 1, 1))
    return jnp.array(pattern.repeat(shape[0] // 4, 1).repeat(shape[1] // 4, 2), jnp.float32)


def initialised(model, seed=0):
    """Variables as the initialisers would draw them, without the time to compile these."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            spread = (2 / np.prod(leaf.shape[:-1])) ** 0.5
            return jnp.array(rng.normal(size=leaf.shape) * spread, leaf.dtype)
        return jnp.full(leaf.shape, name in ("scale", "var"), leaf.dtype)

    empty = jnp.zeros((1, *model.shape))
    return jax.tree_util.tree_map_with_path(
        draw, jax.eval_shape(model.init, jax.random.key(0), empty)
    )


@functools.cache
def evaluator(**options):
    """The compiled network, as a function of variables, images and beta."""
    apply = jax.jit(lambda v, image, beta: network(**options).apply(v, image, beta=beta))
    return lambda variables, image, beta=1.0: apply(variables, image, beta)


def varied_codes(apply, variables, image):
    """Variables whose bits' logits have mean 0 over the images; untrained ones hardly vary."""
    params = variables["params"]
    layer = params["bcoding"]["logit"]
    layer = layer | {"bias": layer["bias"] - apply(variables, image).logit.mean(0)}
    return variables | {"params": params | {"bcoding": {"logit": layer}}}


@functools.cache
def trainer(**options):
    """The compiled network in training: outputs and updated statistics."""
    return jax.jit(functools.partial(network(**options).apply, train=True, mutable=["batch_stats"]))


def sizes(model, shape):
    """The numbers of parameters and of statistics; nothing is computed."""
    init = functools.partial(model.init, train=False)
    variables = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, *shape)))
    stats = jax.tree.leaves(variables.get("batch_stats", {}))
    return sum(a.size for a in jax.tree.leaves(variables["params"])), sum(a.size for a in stats)


# Equation (3).


@settings(deadline=None, max_examples=50)
@given(z=logits, beta=st.sampled_from([0.5, 1.0, 3.0]))
def test_each_activation_is_the_sigmoid_that_its_tanh_amounts_to(z, beta):
    sigmoid = jax.nn.sigmoid
    z = jnp.array([[z]])
    # Equation (2): (tanh x + 1) / 2 is sigmoid(2x).
    intended = bcoding_activation(z, activation="intended", beta=beta)
    np.testing.assert_allclose(intended, sigmoid(2 * beta * z), atol=1e-6)
    printed = bcoding_activation(z, activation="printed", beta=beta)
    np.testing.assert_allclose(printed, sigmoid(2 * sigmoid(z)), atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(z=logits)
def test_printed_head_is_above_one_half_and_reads_its_bits_at_sigmoid_1(z):
    printed = bcoding_activation(jnp.array([[z]]), activation="printed")[0, 0]
    assert 0.5 < printed < 0.8808  # sigmoid(2) = 0.88080
    assert (printed > SIGMOID_1) == (z > 0)


@settings(deadline=None, max_examples=50)
@given(z=logits, beta=st.sampled_from([0.5, 1.0, 3.0]))
def test_straight_through_is_the_bit_forwards_and_the_intended_slope_backwards(z, beta):
    def of(activation):
        return jax.value_and_grad(
            lambda z: bcoding_activation(z, activation=activation, beta=beta).sum()
        )(jnp.array([[z]]))

    bit, slope = of("straight_through")
    assert bit == float(z > 0)  # exactly: the classifier must see bits
    np.testing.assert_allclose(slope, of("intended")[1], rtol=1e-6)


def test_a_logit_of_zero_is_bit_0():
    zero = jnp.zeros((1, 1))
    assert bcoding_activation(zero, activation="straight_through") == 0
    assert bcoding_activation(zero, activation="intended") == 0.5


def test_reading_the_printed_head_at_one_half_sets_every_bit_of_every_code():
    image = images(32)
    variables = varied_codes(evaluator(), initialised(network()), image)
    printed = evaluator(activation="printed")(variables, image)
    intended = evaluator()(variables, image)
    assert np.all(printed.bcoding > 0.5)
    # The same parameters, read as intended, give the logits' signs: codes that differ.
    np.testing.assert_array_equal(intended.bcoding > 0.5, intended.logit > 0)
    assert len(np.unique(intended.bcoding > 0.5, axis=0)) > 1


def test_printed_network_has_the_intended_codes_at_its_own_threshold():
    image = images(32)
    variables = varied_codes(evaluator(), initialised(network()), image)
    printed = evaluator(activation="printed")(variables, image)
    clear = np.abs(printed.logit) > 1e-4  # float32 cannot tell sigmoid(1e-8) from 1/2
    np.testing.assert_array_equal((printed.bcoding > SIGMOID_1)[clear], (printed.logit > 0)[clear])
    assert clear.mean() > 0.9


def test_beta_steepens_the_code_without_changing_a_bit():
    variables, image = initialised(network()), images(32)
    soft, steep = (evaluator()(variables, image, beta) for beta in (1.0, 10.0))
    np.testing.assert_array_equal(soft.logit, steep.logit)
    np.testing.assert_array_equal(soft.bcoding > 0.5, steep.bcoding > 0.5)
    assert np.all(np.abs(steep.bcoding - 0.5) >= np.abs(soft.bcoding - 0.5))


# Shapes.


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [(32, 32), (40, 56), (64, 64)])
@pytest.mark.parametrize("decode_from", ["feature", "bcoding"])
def test_outputs_have_their_shapes_and_the_decoder_gives_an_image(channels, side, decode_from):
    model = network(shape=(*side, channels), decode_from=decode_from)
    outputs, _ = jax.eval_shape(
        model.init_with_output, jax.random.key(0), jnp.zeros((2, *side, channels))
    )
    chex.assert_shape(outputs.feature, (2, 8))
    chex.assert_shape([outputs.logit, outputs.bcoding], (2, 6))
    chex.assert_shape(outputs.score, (2, 3))
    chex.assert_shape(outputs.decoded, (2, *side, channels))


def test_decoded_pixels_lie_inside_the_unit_interval():
    shape = (40, 56, 3)
    options = {"shape": shape}
    outputs = evaluator(**options)(initialised(network(**options)), images(2, shape))
    chex.assert_shape(outputs.decoded, (2, *shape))
    assert 0 < np.min(outputs.decoded) < np.max(outputs.decoded) < 1


def test_images_of_one_shade_are_finite_in_training():
    # Batch normalisation divides by a standard deviation that is 0 here.
    outputs, _ = trainer()(initialised(network()), jnp.full((8, *SHAPE), 0.5))
    chex.assert_tree_all_finite(outputs)


def test_decoding_can_be_skipped():
    model = network()
    skip = functools.partial(model.apply, decode=False)
    assert jax.eval_shape(skip, initialised(model), images(2)).decoded is None


def test_decoder_from_the_code_sees_nothing_but_the_code():
    options = {"decode_from": "bcoding", "activation": "straight_through", "bits": 2}
    apply, image = evaluator(**options), images(32)
    outputs = apply(varied_codes(apply, initialised(network(**options)), image), image)
    _, first, same = np.unique(outputs.bcoding, axis=0, return_index=True, return_inverse=True)
    assert 1 < len(first) <= 4  # some images share a code
    np.testing.assert_allclose(outputs.decoded, outputs.decoded[first][same], atol=1e-6)


def test_classify_scores_given_bits():
    variables = initialised(network())
    outputs = evaluator()(variables, images(32))
    score = network().apply(variables, outputs.bcoding, method="classify")
    np.testing.assert_allclose(score, outputs.score, rtol=1e-5)
    # W_C has no bias: no bit set, no score.
    no_bits = jnp.zeros((1, 6))
    np.testing.assert_array_equal(network().apply(variables, no_bits, method="classify"), [[0] * 3])


# Sizes.

FC = (512 * 1024 + 1024) + (1024 * 1024 + 1024)  # FC6 on the one pixel of 512 channels, FC7
FILTERS = 64 + 128 + 256 + 512 + 512


def test_printed_encoder_has_the_parameters_counted_by_hand():
    convolutions = [
        9 * 3 * 64 + 64,
        9 * 64 * 128 + 128,
        9 * 128 * 256 + 256,
        9 * 256 * 512 + 512,
        9 * 512 * 512 + 512,
    ]
    assert sizes(Encoder(batch_norm=False), (32, 32, 3)) == (sum(convolutions) + FC, 0)
    # Batch normalisation: scale and offset instead of a bias; a mean and a variance beside them.
    units = FILTERS + 2 * 1024
    assert sizes(Encoder(), (32, 32, 3)) == (sum(convolutions) + FC + units, 2 * units)


def test_vgg_16_encoder_has_the_published_convolutional_parameters():
    # 14,714,688 weights and biases: VGG-16 without its three dense layers.
    encoder = Encoder(convs_per_group=(2, 2, 3, 3, 3), batch_norm=False)
    assert sizes(encoder, (32, 32, 3)) == (14_714_688 + FC, 0)


def test_pooling_after_the_first_convolution_costs_no_parameter():
    sized = [
        sizes(Encoder(convs_per_group=(2, 2, 2, 2, 2), pool_after=where), (32, 32, 3))
        for where in ("group", "first")
    ]
    assert sized[0] == sized[1]


def test_pools_stand_where_they_are_said_to():
    shape = (64, 64, 1)
    for where, side in (("group", 64), ("first", 32)):
        encoder = Encoder(width=1 / 32, fc_dim=4, convs_per_group=(2, 1, 1, 1, 1), pool_after=where)
        intermediates = jax.eval_shape(
            lambda e=encoder: e.init_with_output(
                jax.random.key(0), jnp.zeros((1, *shape)), train=False, capture_intermediates=True
            )[1]["intermediates"]
        )
        second = intermediates["conv1_2"]["__call__"][0]
        chex.assert_shape(second, (1, side, side, 2))


def test_larger_images_only_widen_fc6():
    small, large = (sizes(Encoder(batch_norm=False), (side, side, 3))[0] for side in (32, 64))
    assert large - small == 3 * 512 * 1024  # four pixels of 512 channels instead of one


def test_head_and_classifier_have_the_parameters_counted_by_hand():
    params = initialised(network(bits=12, classes=5))["params"]
    parts = ("bcoding", "classifier")
    count = {part: sum(leaf.size for leaf in jax.tree.leaves(params[part])) for part in parts}
    assert count == {"bcoding": 8 * 12 + 12, "classifier": 12 * 5}


def test_width_multiplies_the_filters_and_leaves_at_least_one():
    assert scaled_filters(1.0) == (64, 128, 256, 512, 512)
    assert scaled_filters(0.25) == (16, 32, 64, 128, 128)
    assert scaled_filters(1 / 1000) == (1, 1, 1, 1, 1)
    filters = [1, 2, 4, 8, 16, 16]
    convolutions = sum(9 * a * b + b for a, b in itertools.pairwise(filters))
    encoder = Encoder(width=1 / 32, fc_dim=8, batch_norm=False)
    assert sizes(encoder, (32, 32, 1))[0] == convolutions + (16 * 8 + 8) + (8 * 8 + 8)


# Batch normalisation over four devices, and bfloat16.


def test_statistics_and_outputs_on_four_devices_are_those_of_one():
    variables, image = initialised(network()), images(8)
    one, stats = trainer()(variables, image)
    model = network(axis_name="batch")
    four, synchronised = jax.pmap(
        functools.partial(model.apply, train=True, mutable=["batch_stats"]),
        axis_name="batch",
        in_axes=(None, 0),
    )(variables, image.reshape(4, 2, *SHAPE))
    four = jax.tree.map(lambda a: a.reshape(8, *a.shape[2:]), four)
    chex.assert_trees_all_close(four, one, rtol=1e-3, atol=1e-4)
    for device in range(4):
        own = jax.tree.map(lambda a, d=device: a[d], synchronised)
        chex.assert_trees_all_close(own, stats, rtol=1e-4, atol=1e-5)


def test_rows_of_other_devices_enter_the_statistics():
    variables, image = initialised(network()), images(8)
    (one, _), (other, _) = (
        trainer()(variables, batch) for batch in (image, image.at[2:].set(image[2:] ** 4))
    )
    assert np.max(np.abs(one.logit[:2] - other.logit[:2])) > 0.01


def test_statistics_are_updated_in_training():
    variables = initialised(network())
    _, trained = trainer()(variables, images(8))
    moved = jax.tree.map(
        lambda a, b: np.max(np.abs(a - b)), trained["batch_stats"], variables["batch_stats"]
    )
    assert min(jax.tree.leaves(moved)) > 0


def test_evaluation_of_a_row_does_not_depend_on_its_batch():
    variables, image = initialised(network()), images(32)
    alone = evaluator()(variables, image.at[1:].set(0))
    together = evaluator()(variables, image)
    np.testing.assert_allclose(alone.logit[0], together.logit[0], rtol=1e-4, atol=1e-6)


def test_bfloat16_keeps_parameters_statistics_and_outputs_in_float32():
    variables = initialised(network(dtype=jnp.bfloat16))
    chex.assert_trees_all_equal(variables, initialised(network()))
    outputs, stats = trainer(dtype=jnp.bfloat16)(variables, images(8))
    assert outputs.feature.dtype == jnp.bfloat16
    rest = outputs.logit, outputs.bcoding, outputs.score, outputs.decoded, stats
    assert {leaf.dtype for leaf in jax.tree.leaves(rest)} == {jnp.dtype(jnp.float32)}
    chex.assert_tree_all_finite((outputs, stats))


# Errors.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 0}, "bits is 0; a code needs at least 1 bit"),
        (
            {"shape": (28, 28, 1)},
            r"the image is 28×28; five 2×2 pools need at least 32×32: "
            r"pad it \(data.pad_small=True\) or resize it \(data.image_size=32\)",
        ),
        ({"shape": (64, 31, 1)}, "the image is 64×31"),
        ({"convs_per_group": (1, 1)}, r"convs_per_group is \(1, 1\); it must hold 5 numbers"),
        ({"convs_per_group": (1, 1, 0, 1, 1)}, r"convs_per_group is \(1, 1, 0, 1, 1\)"),
        (
            {"encoder_options": FrozenDict(filters=(64, 128))},
            r"convs_per_group is \(1, 1, 1, 1, 1\); it must hold 2 numbers",
        ),
        (
            {"encoder_options": FrozenDict(filters=())},
            r"filters is \(\); it must hold one to five numbers",
        ),
        (
            {
                "convs_per_group": (1, 1, 1),
                "encoder_options": FrozenDict(filters=(64, 256, 256)),
            },
            "pools is 5; of the 3 groups 0 to 3 can have one",
        ),
        ({"pool_after": "last"}, "pool_after is 'last'; it must be 'group' or 'first'"),
        (
            {"activation": "tanh"},
            "activation is 'tanh'; it must be 'printed', 'intended' or 'straight_through'",
        ),
        ({"decode_from": "score"}, "decode_from is 'score'; it must be 'feature' or 'bcoding'"),
    ],
)
def test_errors_say_what_to_do(options, message):
    model = network(**options)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *model.shape)))


def test_the_head_alone_gives_logits_and_activations():
    head = BcodingHead(bits=3, activation="printed")
    (logit, bcoding), _ = head.init_with_output(jax.random.key(0), jnp.ones((2, 5), jnp.bfloat16))
    assert logit.dtype == jnp.float32
    np.testing.assert_allclose(bcoding, jax.nn.sigmoid(2 * jax.nn.sigmoid(logit)), rtol=1e-6)
