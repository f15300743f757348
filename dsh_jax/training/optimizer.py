"""Optimizers and learning-rate schedules by name, from optax."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import optax

from dsh_jax import losses
from dsh_jax.training.muon import hold_norms, scale_by_muon

Schedule = Literal["constant", "cosine", "linear", "one_cycle", "steps"]


def make_schedule(
    name: Schedule,
    *,
    peak: float,
    steps: int,
    warmup_steps: int = 0,
    boundaries: tuple[float, ...] = (0.5, 0.75),
    factor: float = 0.1,
) -> optax.Schedule:
    """Return a learning rate as a function of the step.

    Args:
      name: `constant`; `cosine` to 0; `linear` to 0; `one_cycle`, linear up to the peak over the
        warm-up and linear down to 0 (after Smith 2018; its warm-up defaults to a quarter of the
        steps); `steps`, multiplied by `factor` at each boundary.
      peak: the highest rate.
      steps: length of training.
      warmup_steps: of linear warm-up from 0.
      boundaries: of `steps`, as shares of the training.
      factor: of `steps`.

    Returns:
      An optax schedule.

    Raises:
      ValueError: for another name, or a warm-up as long as the training.
    """
    if name == "one_cycle" and not warmup_steps:
        warmup_steps = steps // 4
    if not 0 <= warmup_steps < max(steps, 1):
        raise ValueError(f"warmup_steps is {warmup_steps}; it must be below the {steps} steps.")
    rest = max(steps - warmup_steps, 1)
    if name == "constant":
        main = optax.constant_schedule(peak)
    elif name == "cosine":
        main = optax.cosine_decay_schedule(peak, rest)
    elif name in ("linear", "one_cycle"):
        main = optax.linear_schedule(peak, 0.0, rest)
    elif name == "steps":
        at: dict[int, float] = {}
        for share in boundaries:  # two may fall on one step of a short training
            step = max(1, int(share * steps) - warmup_steps)
            at[step] = at.get(step, 1.0) * factor
        main = optax.piecewise_constant_schedule(peak, at)
    else:
        raise ValueError(f"schedule is {name!r}; known: {', '.join(get_args(Schedule))}.")
    if not warmup_steps:
        return main
    return optax.join_schedules(
        [optax.linear_schedule(0.0, peak, warmup_steps), main], [warmup_steps]
    )


def make_optimizer(
    name: Literal["sgd", "adam", "adamw", "muon"],
    schedule: optax.Schedule,
    *,
    weight_decay: float = 0.0,
    parts: Sequence[str] | None = None,
    momentum: float = 0.9,
    clip_norm: float = 0.0,
    adam_schedule: optax.Schedule | None = None,
    held_norms: bool = False,
    backbone_factor: float = 1.0,
) -> optax.GradientTransformation:
    """Return an optimizer whose weight decay touches kernels only.

    Args:
      name: `sgd` (Nesterov; λW is added to the gradient, as usual for SGD, so that λ does what λ/2
        does in front of `losses.weight_penalty`), `adam` (no decay), `adamw` (decoupled decay,
        Loshchilov and Hutter 2019) or `muon` (kernels of encoder and decoder step along the
        orthogonal matrix nearest to their momentum, Jordan 2024; the rest as in `adamw`).
      schedule: the learning rate.
      weight_decay: λ, its weight.
      parts: of the network whose kernels decay, see `losses.kernels`: what no gradient reaches
        would but shrink. None for all.
      momentum: of SGD and Muon.
      clip_norm: the gradient's largest global norm; 0 is off.
      adam_schedule: of Muon, the learning rate of the rest.
      held_norms: of Muon, whether the encoder's kernels keep their norms, see `muon.hold_norms`;
        its layers must then be normalised.
      backbone_factor: of the steps of a pretrained network's weights.

    Returns:
      An optax transformation.

    Raises:
      ValueError: for another name, or weight decay with `adam`.
    """
    if name == "adam" and weight_decay:
        raise ValueError("adam has no weight decay: use adamw, or set weight_decay=0.")
    if held_norms and name != "muon":
        raise ValueError(f"{name} does not hold norms: use muon, or set held_norms=False.")
    mask = functools.partial(losses.kernels, parts=parts)
    clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
    if name == "sgd":
        decay = optax.add_decayed_weights(weight_decay, mask=mask)
        main = optax.chain(decay, optax.sgd(schedule, momentum=momentum, nesterov=True))
    elif name in ("adam", "adamw"):
        main = optax.adamw(schedule, weight_decay=weight_decay, mask=mask)
    elif name == "muon":
        if adam_schedule is None:
            raise ValueError("muon steps kernels only: give adam_schedule, the rate of the rest.")
        others = optax.adamw(adam_schedule, weight_decay=weight_decay, mask=mask)
        decay = optax.add_decayed_weights(weight_decay, mask=mask)
        rate = optax.scale_by_learning_rate(schedule)
        steps = [scale_by_muon(momentum), decay, rate]
        if held_norms:
            in_encoder = functools.partial(losses.kernels, parts=["encoder"])
            steps.append(optax.masked(hold_norms(), in_encoder))
        muon = optax.chain(*steps)
        main = optax.partition({"muon": muon, "adam": others}, _is_muons)
    else:
        raise ValueError(f"optimizer is {name!r}; known: 'sgd', 'adam', 'adamw', 'muon'.")
    if backbone_factor != 1:
        slower = optax.masked(optax.scale(backbone_factor), _is_backbones)
        return optax.chain(clip, main, slower)
    return optax.chain(clip, main)


def _is_backbones(params: Any) -> Any:
    """Return which parameters are a pretrained network's."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: any(getattr(key, "key", None) == "backbone" for key in path), params
    )


def _is_muons(params: Any) -> Any:
    """Return who steps a parameter: `muon` the kernels of encoder and decoder, `adam` the rest.

    Not the bcoding layer's and the classifier's, whose scale means something.
    """
    parts = [part for part in ("encoder", "decoder") if part in params]
    is_kernel = losses.kernels(params, parts)
    return jax.tree.map(lambda one: "muon" if one else "adam", is_kernel)
