"""Schedules at hand-picked steps; updates worked by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dsh_jax.losses import kernels, weight_penalty
from dsh_jax.training.optimizer import make_optimizer, make_schedule


def rates(name, at, **options):
    schedule = make_schedule(name, **options)
    return [float(schedule(step)) for step in at]


# Schedules.


def test_constant_schedule():
    assert rates("constant", [0, 1, 99, 1000], peak=0.5, steps=100) == [0.5] * 4


def test_constant_schedule_after_a_warm_up():
    found = rates("constant", [0, 5, 10, 99], peak=0.5, steps=100, warmup_steps=10)
    np.testing.assert_allclose(found, [0, 0.25, 0.5, 0.5])


def test_cosine_schedule_ends_at_zero():
    found = rates("cosine", [0, 25, 50, 75, 100, 200], peak=2.0, steps=100)
    half = 2**-0.5
    np.testing.assert_allclose(found, [2, 1 + half, 1, 1 - half, 0, 0], atol=1e-6)


def test_cosine_schedule_after_a_warm_up():
    found = rates("cosine", [0, 10, 20, 60, 100], peak=2.0, steps=100, warmup_steps=20)
    np.testing.assert_allclose(found, [0, 1, 2, 1, 0], atol=1e-6)


def test_one_cycle_peaks_after_a_quarter_of_the_steps():
    found = rates("one_cycle", [0, 10, 25, 50, 100, 200], peak=3.0, steps=100)
    np.testing.assert_allclose(found, [0, 1.2, 3, 2, 0, 0], atol=1e-6)


def test_one_cycle_peaks_after_its_warm_up():
    found = rates("one_cycle", [0, 25, 50, 75, 100], peak=3.0, steps=100, warmup_steps=50)
    np.testing.assert_allclose(found, [0, 1.5, 3, 1.5, 0], atol=1e-6)


def test_steps_schedule_falls_at_its_boundaries():
    at = [0, 49, 50, 74, 75, 99]
    found = rates("steps", at, peak=1.0, steps=100)
    np.testing.assert_allclose(found, [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)
    found = rates("steps", at, peak=1.0, steps=100, boundaries=(0.75,), factor=0.5)
    np.testing.assert_allclose(found, [1, 1, 1, 1, 0.5, 0.5], rtol=1e-6)


def test_linear_falls_from_the_first_step_to_zero():
    found = rates("linear", [0, 5, 10], peak=2.0, steps=10)
    np.testing.assert_allclose(found, [2, 1, 0], rtol=1e-6)


def test_steps_schedule_counts_its_boundaries_from_the_start_of_the_warm_up():
    found = rates("steps", [10, 20, 49, 50, 75], peak=1.0, steps=100, warmup_steps=20)
    np.testing.assert_allclose(found, [0.5, 1, 1, 0.1, 0.01], rtol=1e-6)


def test_steps_schedule_counts_every_boundary_even_where_two_fall_on_one_step():
    # Half and three quarters of two steps are both step 1.
    np.testing.assert_allclose(rates("steps", [0, 1], peak=1.0, steps=2), [1, 0.01], rtol=1e-6)


@pytest.mark.parametrize("name", ["constant", "cosine", "one_cycle", "steps"])
@pytest.mark.parametrize("steps", [1, 3])
def test_schedules_of_very_short_trainings_are_finite_and_begin_above_zero(name, steps):
    found = rates(name, range(steps + 1), peak=1.0, steps=steps)
    assert np.isfinite(found).all()
    assert found[0] == 1


# Updates.

params = {
    "dense": {"kernel": jnp.array([[2.0, -4.0]]), "bias": jnp.array([8.0, 8.0])},
    "norm": {"scale": jnp.array([16.0])},
}
no_gradient = jax.tree.map(jnp.zeros_like, params)


def stepped(optimizer, gradients, params=params):
    state = optimizer.init(params)
    for gradient in gradients:
        update, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, update)
    return params


def test_kernels_are_the_leaves_of_that_name():
    assert kernels(params) == {
        "dense": {"kernel": True, "bias": False},
        "norm": {"scale": False},
    }


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_touches_kernels_only(name):
    optimizer = make_optimizer(name, optax.constant_schedule(0.5), weight_decay=0.1, momentum=0.0)
    after = stepped(optimizer, [no_gradient])
    # Without a gradient a kernel shrinks by the rate times the decay.
    np.testing.assert_allclose(after["dense"].pop("kernel"), [[1.9, -3.8]], rtol=1e-6)
    chex.assert_trees_all_equal(
        after, {"dense": {"bias": params["dense"]["bias"]}, "norm": params["norm"]}
    )


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_without_decay_or_gradient_nothing_moves(name):
    after = stepped(make_optimizer(name, optax.constant_schedule(0.5)), [no_gradient] * 2)
    chex.assert_trees_all_equal(after, params)


def test_two_nesterov_steps_by_hand():
    weight = {"bias": jnp.array([1.0])}
    gradients = [{"bias": jnp.array([g])} for g in (2.0, 1.0)]
    optimizer = make_optimizer("sgd", optax.constant_schedule(0.1), momentum=0.5)
    # The velocity is 2, then 1 + 0.5 × 2 = 2; a step looks ahead: g + 0.5 × velocity.
    after_one = 1 - 0.1 * (2 + 0.5 * 2)
    assert stepped(optimizer, gradients[:1], weight)["bias"] == pytest.approx(after_one)
    after_two = after_one - 0.1 * (1 + 0.5 * 2)
    assert stepped(optimizer, gradients, weight)["bias"] == pytest.approx(after_two)


def test_decay_of_sgd_enters_the_momentum():
    weight = {"kernel": jnp.array([1.0])}
    optimizer = make_optimizer("sgd", optax.constant_schedule(0.1), weight_decay=0.2, momentum=0.5)
    after_one = 1 - 0.1 * (0.2 + 0.5 * 0.2)
    decay = 0.2 * after_one
    velocity = decay + 0.5 * 0.2
    after_two = after_one - 0.1 * (decay + 0.5 * velocity)
    found = stepped(optimizer, [{"kernel": jnp.zeros(1)}] * 2, weight)["kernel"]
    assert found == pytest.approx(after_two)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_first_step_of_adam_is_the_rate_whatever_the_gradient(name):
    optimizer = make_optimizer(name, optax.constant_schedule(0.25))
    gradient = jax.tree.map(lambda a: jnp.full_like(a, -7.0), params)
    moved = jax.tree.map(lambda a: a + 0.25, params)
    chex.assert_trees_all_close(stepped(optimizer, [gradient]), moved, rtol=1e-5)


def test_the_rate_follows_the_schedule():
    schedule = make_schedule("one_cycle", peak=1.0, steps=4)  # 0, 1, 2/3, 1/3
    optimizer = make_optimizer("sgd", schedule, momentum=0.0)
    gradient = {"bias": jnp.ones(1)}
    after = [
        stepped(optimizer, [gradient] * n, {"bias": jnp.zeros(1)})["bias"][0] for n in range(5)
    ]
    np.testing.assert_allclose(after, [0, 0, -1, -5 / 3, -2], atol=1e-6)


def test_clipping_scales_a_long_gradient_to_the_norm_and_leaves_a_short_one():
    optimizer = make_optimizer("sgd", optax.constant_schedule(1.0), momentum=0.0, clip_norm=1.0)
    zero = {"a": {"bias": jnp.zeros(1)}, "b": {"bias": jnp.zeros(1)}}
    long = {"a": {"bias": jnp.array([3.0])}, "b": {"bias": jnp.array([4.0])}}
    after = stepped(optimizer, [long], zero)
    np.testing.assert_allclose([after["a"]["bias"], after["b"]["bias"]], [[-0.6], [-0.8]])
    short = jax.tree.map(lambda g: g / 10, long)
    after = stepped(optimizer, [short], zero)
    np.testing.assert_allclose([after["a"]["bias"], after["b"]["bias"]], [[-0.3], [-0.4]])


def test_clipping_does_not_see_the_weight_decay():
    optimizer = make_optimizer(
        "sgd", optax.constant_schedule(1.0), momentum=0.0, weight_decay=1.0, clip_norm=1.0
    )
    after = stepped(optimizer, [{"kernel": jnp.zeros(1)}], {"kernel": jnp.array([50.0])})
    assert after["kernel"] == 0


# Muon.


def muon_params():
    rng = np.random.default_rng(0)
    return {
        "encoder": {
            "conv": {"kernel": jnp.array(rng.normal(size=(3, 3, 2, 8)), jnp.float32)},
            "norm": {"bias": jnp.ones(8)},
        },
        "bcoding": {"kernel": jnp.array(rng.normal(size=(8, 4)), jnp.float32)},
    }


def muon(**options):
    adam = optax.constant_schedule(0.01)
    return make_optimizer(
        "muon", optax.constant_schedule(0.5), adam_schedule=adam, momentum=0.6, **options
    )


def test_muon_steps_along_the_nearest_orthogonal_matrix():
    before = muon_params()
    gradient = jax.tree.map(lambda x: jnp.sin(5 * x), before)
    after = stepped(muon(), [gradient], before)
    step = (before["encoder"]["conv"]["kernel"] - after["encoder"]["conv"]["kernel"]) / 0.5
    u, _, v = np.linalg.svd(np.asarray(gradient["encoder"]["conv"]["kernel"]).reshape(18, 8))
    nearest = u[:, :8] @ v
    found = np.asarray(step).reshape(18, 8)
    # Newton and Schulz's three steps leave the singular values near 1, not at it.
    assert np.allclose(np.linalg.svd(found)[1], 1, atol=0.4)
    cosine = (found * nearest).sum() / np.linalg.norm(found) / np.linalg.norm(nearest)
    assert cosine > 0.97


def test_muon_leaves_the_head_and_the_biases_to_adam():
    before = muon_params()
    gradient = jax.tree.map(jnp.ones_like, before)
    after = stepped(muon(), [gradient], before)
    for old, new in (
        (before["bcoding"]["kernel"], after["bcoding"]["kernel"]),
        (before["encoder"]["norm"]["bias"], after["encoder"]["norm"]["bias"]),
    ):
        np.testing.assert_allclose(old - new, 0.01, rtol=1e-4)


def test_muon_decays_kernels_only():
    before = muon_params()
    nothing = jax.tree.map(jnp.zeros_like, before)
    after = stepped(muon(weight_decay=0.1), [nothing], before)
    for name, shrunk in (("conv", 0.95), ("norm", 1.0)):
        chex.assert_trees_all_close(
            after["encoder"][name],
            jax.tree.map(lambda x, shrunk=shrunk: shrunk * x, before["encoder"][name]),
            rtol=1e-5,
        )


def test_held_norms_are_the_root_of_the_filters_before_each_step():
    before = muon_params()
    before["decoder"] = {"conv": {"kernel": before["encoder"]["conv"]["kernel"]}}
    gradient = jax.tree.map(lambda x: jnp.sin(5 * x), before)
    after = stepped(muon(held_norms=True), [gradient], before)
    kernel = before["encoder"]["conv"]["kernel"]
    before["encoder"]["conv"]["kernel"] = kernel * 8**0.5 / jnp.linalg.norm(kernel)
    wanted = stepped(muon(), [gradient], before)
    chex.assert_trees_all_close(after, wanted, rtol=1e-5, atol=1e-6)


# Errors.

rate = optax.constant_schedule(0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make_schedule("square", peak=1.0, steps=10),
            "schedule is 'square'; known: constant, cosine, linear, one_cycle, steps",
        ),
        (
            lambda: make_schedule("cosine", peak=1.0, steps=10, warmup_steps=10),
            "warmup_steps is 10; it must be below the 10 steps",
        ),
        (
            lambda: make_schedule("cosine", peak=1.0, steps=10, warmup_steps=-1),
            "warmup_steps is -1",
        ),
        (
            lambda: make_optimizer("lamb", rate),
            "optimizer is 'lamb'; known: 'sgd', 'adam', 'adamw', 'muon'",
        ),
        (
            lambda: make_optimizer("muon", rate),
            "muon steps kernels only: give adam_schedule",
        ),
        (
            lambda: make_optimizer("sgd", rate, held_norms=True),
            "sgd does not hold norms: use muon, or set held_norms=False",
        ),
        (
            lambda: make_optimizer("adam", rate, weight_decay=0.1),
            "adam has no weight decay: use adamw, or set weight_decay=0",
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_decay_of_sgd_is_that_of_half_the_penalty_in_the_loss():
    """λW in the gradient is the slope of λ/2 ||W||²: `loss` with the same λ pulls twice as hard."""
    rate, weight = optax.constant_schedule(0.1), 0.3
    gradient = jax.tree.map(lambda x: jnp.ones_like(x) / 2, params)
    slope = jax.grad(lambda p: weight / 2 * weight_penalty(p))
    decayed = make_optimizer("sgd", rate, weight_decay=weight)
    plain = make_optimizer("sgd", rate)
    state, at, expected = plain.init(params), params, params
    for _ in range(3):
        total = jax.tree.map(jnp.add, gradient, slope(expected))
        update, state = plain.update(total, state, expected)
        expected = optax.apply_updates(expected, update)
    at = stepped(decayed, [gradient] * 3)
    chex.assert_trees_all_close(at, expected, rtol=1e-6)


def test_decay_of_adamw_is_not_in_the_gradient():
    """One step: rate × λ × W whatever the gradient's size, which Adam divides out."""
    optimizer = make_optimizer("adamw", optax.constant_schedule(0.1), weight_decay=0.3)
    for size in (1e-3, 1e3):
        gradient = jax.tree.map(lambda x, size=size: jnp.full_like(x, size), params)
        kernel = stepped(optimizer, [gradient])["dense"]["kernel"]
        by_hand = params["dense"]["kernel"] * (1 - 0.1 * 0.3) - 0.1
        np.testing.assert_allclose(kernel, by_hand, rtol=1e-4)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_only_the_named_parts_decay(name):
    optimizer = make_optimizer(
        name, optax.constant_schedule(0.5), weight_decay=0.1, parts=("classifier",)
    )
    both = {"encoder": {"kernel": jnp.ones(2)}, "classifier": {"kernel": jnp.ones(2)}}
    after = stepped(optimizer, [jax.tree.map(jnp.zeros_like, both)], both)
    np.testing.assert_array_equal(after["encoder"]["kernel"], 1)
    assert (after["classifier"]["kernel"] < 1).all()


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_a_pretrained_networks_weights_take_smaller_steps(name):
    def of_network(value):
        return {
            "encoder": {
                "backbone": {"stem": {"kernel": jnp.full((2, 2), value)}},
                "fc6": {"kernel": jnp.full((2, 2), value)},
            },
            "classifier": {"kernel": jnp.full((2, 2), value)},
        }

    params, gradient = of_network(1.0), of_network(0.5)
    steps = {}
    for factor in (1.0, 0.01):
        schedule = make_schedule("constant", peak=0.1, steps=9)
        optimizer = make_optimizer(
            name, schedule=schedule, adam_schedule=schedule, backbone_factor=factor
        )
        steps[factor], _ = optimizer.update(gradient, optimizer.init(params), params)
    whole = steps[1.0]["encoder"]["backbone"]["stem"]["kernel"]
    assert (whole != 0).all()
    np.testing.assert_allclose(
        steps[0.01]["encoder"]["backbone"]["stem"]["kernel"], 0.01 * whole, rtol=1e-6
    )
    for step in steps.values():
        del step["encoder"]["backbone"]
    chex.assert_trees_all_equal(*steps.values())
