"""One training step: a pure function of state and batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dsh_jax import losses
from dsh_jax.augment import network_input
from dsh_jax.losses.objectives import Terms
from dsh_jax.network import DSH

# Folded into a row's key, beside the numbers that `augment` takes.
STRONG, NOISE = 100, 101


class TrainState(flax.struct.PyTreeNode):
    """Everything that a run carries from step to step: arrays only.

    Attributes:
      step: training steps done, int32.
      params: the network's parameters.
      batch_stats: BatchNorm's running means and variances; empty without BatchNorm.
      opt_state: of the optimizer.
      ema: exponential moving averages of params and batch_stats, or None.
      key: uint32[2], the run's random key; each step folds its number in.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any
    key: jax.Array

    def evaluation_variables(self) -> dict[str, Any]:
        """Return the variables to evaluate with: the averages where they are kept."""
        if self.ema is not None:
            return self.ema
        return {"params": self.params, "batch_stats": self.batch_stats}


def create_state(
    model: DSH, optimizer: optax.GradientTransformation, *, seed: int, ema: bool
) -> TrainState:
    """Return the state before the first step.

    Args:
      model: the network.
      optimizer: of the first stage.
      seed: of the parameters and of every later draw.
      ema: whether to keep averages.

    Returns:
      TrainState.
    """
    init_key, key = jax.random.split(jax.random.PRNGKey(seed))
    variables = _initial_variables(model, init_key)
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        ema={"params": params, "batch_stats": batch_stats} if ema else None,
        key=key,
    )


def with_whitening(state: TrainState, kernel: np.ndarray) -> TrainState:
    """Return the state, its network's whitening filters set, see `network.whitening`.

    Args:
      state: of a network that whitens.
      kernel: from `whitening_kernel`.

    Returns:
      TrainState; the average, where one is kept, has a copy.
    """

    def whitened(stats):
        encoder = {**stats["encoder"], "whitening": {"kernel": jnp.array(kernel)}}
        return {**stats, "encoder": encoder}

    ema = state.ema
    if ema is not None:
        ema = {**ema, "batch_stats": whitened(ema["batch_stats"])}
    return state.replace(batch_stats=whitened(state.batch_stats), ema=ema)


@functools.partial(jax.jit, static_argnums=0)
def _initial_variables(model: DSH, key: jax.Array) -> dict[str, Any]:
    """Return the network's variables; compiled once for all seeds."""
    return model.init(key, jnp.zeros((1, *model.shape), jnp.float32))


def beta_schedule(*, beta: float, growth: float, power: float) -> Callable[[jax.Array], jax.Array]:
    """Return the steepness of the bcoding activation as a function of the step.

    `β_t = β (1 + growth · t)^power`; growth 0 is a constant (Cao et al. 2017, HashNet, use
    growth .005 and power .5 and change every 200 steps).

    Args:
      beta: β at step 0, above 0; a traced value, here and below, is taken as it is.
      growth: per step, at least 0.
      power: of the growth.

    Returns:
      A function of the step.

    Raises:
      ValueError: for beta <= 0 or growth < 0.
    """
    is_traced = isinstance(beta, jax.core.Tracer) or isinstance(growth, jax.core.Tracer)
    if not is_traced and (beta <= 0 or growth < 0):
        raise ValueError(f"beta is {beta} and its growth {growth}; beta > 0 and growth >= 0.")
    return lambda step: beta * (1 + growth * step) ** power


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    model: DSH,
    optimizer: optax.GradientTransformation,
    objective: Callable[..., tuple[jax.Array, Terms]],
    augment: Callable[[jax.Array, jax.Array], jax.Array],
    beta: Callable[[jax.Array], jax.Array],
    decode: bool,
    start: int = 0,
    steps: int = 0,
    freeze_encoder: bool = False,
    penalty: float = 0.0,
    penalty_parts: Sequence[str] | None = None,
    ema_decay: float = 0.0,
    strong: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    confidence: Callable[..., Terms] | None = None,
    noise: float = 0.0,
    axis_name: str | None = None,
) -> tuple[TrainState, Terms]:
    """Return the state after one step, and the loss with its terms.

    Args:
      state: before.
      batch: `image` uint8 [B, H, W, C], `label` [B, classes], `is_labelled` bool [B]; it may hold
        `truth` [B, classes], the labels of all rows, which only `confidence` reads, and
        `is_flipped`, bool [B], the rows that are mirrored before `augment`.
      model: the network; its axis_name must be this one.
      optimizer: of this stage.
      objective: `(outputs, image, batch, axis_name) -> (total, terms)`, see `objectives`; its batch
        holds `key`, too, the step's random key, `progress` and the `teacher`'s outputs.
      augment: `(key_B, image in [0, 1]) -> image`; the decoder's target is its result.
      beta: of the stage's step, see `beta_schedule`.
      decode: whether the decoder runs.
      start: the state's step at which the stage starts: every schedule counts from there.
      steps: of the stage, for the batch's `progress`; 0 leaves that at 0.
      freeze_encoder: whether the encoder stays as it is, its statistics too.
      penalty: λ of the objective's λ||W||^2; 0 where the optimizer decays the weights instead.
      penalty_parts: W, see `losses.weight_penalty`.
      ema_decay: of the averages, where the state keeps them.
      strong: augmentation of the unlabelled rows, as `augment` is; with it, the network of the
        averages is the teacher: it sees all rows by `augment`.
      confidence: `(score, is_unlabelled, truth, progress, axis_name=) -> terms` to be recorded of
        the teacher, see `semi.confidence`.
      noise: standard deviation of what is added to the input; the decoder's target has none.
      axis_name: the mapped axis whose devices share the batch, or None for one device.

    Returns:
      (state, metrics): `loss`, each unweighted term, `accuracy` (of the rows with labels, the share
      whose highest score is at one of them), and the gradient's `gradient_norm`.
    """
    rows = batch["image"].shape[0]
    device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    step_key = jax.random.fold_in(state.key, state.step)
    # A row's key follows from its place in the global batch: four devices draw as one would.
    key_B = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(
        step_key, device * rows + jnp.arange(rows)
    )
    original = network_input(batch["image"])
    if "is_flipped" in batch:
        is_flipped = batch["is_flipped"][:, None, None, None]
        original = jnp.where(is_flipped, original[:, :, ::-1], original)
    image = augment(key_B, original)
    done = state.step - start
    steepness = beta(done)
    truth = batch.get("truth")
    # No loss can read the truth about unlabelled rows.
    batch = {name: value for name, value in batch.items() if name != "truth"}
    batch |= {"key": step_key, "progress": done / steps if steps else jnp.zeros(())}
    recorded = {}
    if strong is not None:
        teacher = model.apply(state.ema, image, beta=steepness, train=False, decode=False)
        batch["teacher"] = teacher
        is_unlabelled_B = ~batch["is_labelled"]
        recorded = confidence(
            teacher.score, is_unlabelled_B, truth, batch["progress"], axis_name=axis_name
        )
        strong_key_B = jax.vmap(jax.random.fold_in, in_axes=(0, None))(key_B, STRONG)
        image = jnp.where(
            is_unlabelled_B[:, None, None, None], strong(strong_key_B, original), image
        )
    seen = image
    if noise:
        noise_key_B = jax.vmap(jax.random.fold_in, in_axes=(0, None))(key_B, NOISE)
        draw = jax.vmap(lambda key: jax.random.normal(key, image.shape[1:]))
        seen = image + noise * draw(noise_key_B)

    frozen = {"freeze_encoder": True} if freeze_encoder else {}

    def loss_fn(params):
        outputs, updated = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            seen,
            beta=steepness,
            train=True,
            decode=decode,
            mutable=["batch_stats"],
            **frozen,
        )
        total, terms = objective(outputs, image, batch, axis_name)
        if losses.is_on(penalty):
            terms["penalty"] = losses.weight_penalty(params, parts=penalty_parts)
            total += penalty * terms["penalty"]
        best_Bx1 = outputs.score.argmax(-1)[:, None]
        right_B = jnp.take_along_axis(batch["label"], best_Bx1, axis=1)[:, 0]
        has_label_B = losses.has_label(batch["label"], batch["is_labelled"])
        accuracy = losses.masked_mean(right_B, has_label_B, axis_name=axis_name)
        # The decoder's statistics stay as they were where it did not run.
        stats = {**state.batch_stats, **updated.get("batch_stats", {})}
        return total, ({"loss": total, **terms, "accuracy": accuracy, **recorded}, stats)

    gradient, (metrics, batch_stats) = jax.grad(loss_fn, has_aux=True)(state.params)
    if axis_name is not None:
        gradient, metrics = jax.lax.pmean((gradient, metrics), axis_name)
    # Watched too: a finite loss may have a gradient that is not.
    metrics["gradient_norm"] = optax.tree.norm(gradient)
    update, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, update)
    ema = state.ema
    if ema is not None:
        now = {"params": params, "batch_stats": batch_stats}
        # Early on, the average of what there is: a plain decay would keep the initial values.
        decay = jnp.minimum(ema_decay, (1 + done) / (10 + done))
        ema = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, ema, now)
    return (
        state.replace(
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            ema=ema,
        ),
        metrics,
    )
