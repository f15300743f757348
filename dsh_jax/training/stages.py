"""Stages of training: from a config to steps, each with one objective and one optimizer."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dsh_jax import parallel
from dsh_jax.augment import augment
from dsh_jax.data.pipeline import labelled_rows_per_batch
from dsh_jax.data.resident import batch_at
from dsh_jax.losses import semi
from dsh_jax.losses.objectives import autoencoder_objective, hashing_objective
from dsh_jax.methods import deep
from dsh_jax.network import DSH, Outputs
from dsh_jax.training.backbone import sees_features
from dsh_jax.training.optimizer import make_optimizer, make_schedule
from dsh_jax.training.settings import (
    decayed_parts,
    duration,
    frozen_encoder,
    labels_first,
    learns_from_average,
)
from dsh_jax.training.step import beta_schedule, train_step

# The settings that are plain factors of a training step, which a traced array may stand for.
SCALARS = (
    "optimizer.learning_rate",
    "optimizer.weight_decay",
    *("loss.x", "loss.y", "loss.z", "loss.r"),
    *("loss.beta", "loss.beta_growth", "loss.beta_power"),
)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stretch of training with one objective and one optimizer.

    Attributes:
      name: `autoencoder`, `labels`, `hashing` or `joint`.
      start, stop: its steps, stop exclusive.
      step: the mapped `(state, batch) -> (state, metrics)`; of `one_device_stages` not mapped.
      steps: `count -> (state, arrays) -> (state, metrics)`, the mapped steps on resident data, see
        `parallel.parallel_steps`; of `one_device_stages` none.
      optimizer: to start its state with.
      batch: rows of its batches.
      has_unlabelled: whether unlabelled rows are in them, where there are any.
    """

    name: str
    start: int
    stop: int
    step: Callable
    optimizer: Any
    batch: int
    has_unlabelled: bool = True
    steps: Callable[[int], Callable] | None = None


def augmentation(
    config: ConfigDict, section: str = "augment"
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the augmentation of a config.

    Args:
      config: of the run.
      section: `augment`, or `strong`, that of unlabelled rows.

    Returns:
      `(key_B, image_BxHxWxC in [0, 1]) -> image_BxHxWxC`.
    """
    if sees_features(config):
        return lambda _, feature: feature  # which has no pixels to move
    options = config[section]
    if options.flip_by_epoch and (section != "augment" or not options.flip):
        raise ValueError(
            f"{section}.flip_by_epoch is True, but only the flips of augment.flip=True can go by "
            f"epoch: set {section}.flip_by_epoch=False, or augment.flip=True."
        )
    return functools.partial(
        augment,
        shift_pixels=options.shift,
        shift_border=options.shift_border,
        # By epoch, the batch says which rows are flipped: see `pipeline.train_batches`.
        flips=options.flip and not options.flip_by_epoch,
        cutout_size=options.cutout,
        affine_degrees=options.affine_degrees,
        affine_scale=options.affine_scale,
        crop_area=options.crop_area,
        colour_strength=options.colour_strength,
        colour_hue=options.colour_hue,
        strong_ops=options.strong_ops,
        strong_magnitude=options.strong_magnitude,
    )


def make_stages(
    config: ConfigDict,
    model: DSH,
    steps_per_epoch: int,
    multilabel: bool,
    prior_C: np.ndarray | None = None,
) -> list[Stage]:
    """Return the stages of a config: `joint`, or `autoencoder` and `hashing`.

    Before the last one stands `labels` where semi.labels_first_steps is above 0.

    Args:
      config: of the run.
      model: the network.
      steps_per_epoch: training rows / batch, rounded up.
      multilabel: whether the labels are multi-label.
      prior_C: share of the labelled rows that have each class; only what learns from unlabelled
        rows with several labels needs it.

    Returns:
      A list of Stage.

    Raises:
      ValueError: for an unknown mode, training without steps, or a bad option.
    """
    return [
        mapped(stage, config.training.labelled_share)
        for stage in one_device_stages(config, model, steps_per_epoch, multilabel, prior_C)
    ]


def mapped(stage: Stage, labelled_share: float) -> Stage:
    """Return a stage of one device, its steps mapped over the devices of all processes.

    Args:
      stage: from `one_device_stages`.
      labelled_share: of a batch.
    """
    sample = functools.partial(
        batch_at,
        batch=stage.batch,
        labelled_share=labelled_share,
        devices=parallel.global_device_count(),
    )
    steps = functools.cache(functools.partial(parallel.parallel_steps, stage.step, sample))
    return dataclasses.replace(stage, step=parallel.parallel_step(stage.step), steps=steps)


def one_device_stages(
    config: ConfigDict,
    model: DSH,
    steps_per_epoch: int,
    multilabel: bool,
    prior_C: np.ndarray | None = None,
    scalars: Mapping[str, jax.Array] | None = None,
) -> list[Stage]:
    """Return the stages of a config, their steps not yet mapped over devices.

    Args:
      config, model, steps_per_epoch, multilabel, prior_C: see `make_stages`.
      scalars: values in place of the config's, by names in `SCALARS`; they may be traced. The
        config alone says which terms there are: whether r, or λ in the loss, is above 0.

    Returns:
      A list of Stage.

    Raises:
      ValueError: see `make_stages`.
    """
    training, loss, rate = config.training, config.loss, config.optimizer
    value = {name: config[name.split(".")[0]][name.split(".")[1]] for name in SCALARS}
    value.update(scalars or {})
    if training.mode not in ("joint", "two_stage"):
        raise ValueError(f"training.mode is {training.mode!r}; it must be 'joint' or 'two_stage'.")
    if not model.has_decoder and (training.mode == "two_stage" or loss.r):
        raise ValueError(
            f"model.encoder is {model.encoder_name!r}, which has no decoder: set "
            "training.mode='joint' and loss.r=0."
        )
    hashing_steps = duration(training, "hashing", steps_per_epoch)
    if not hashing_steps:
        raise ValueError("training has no steps: set training.hashing_epochs or hashing_steps.")
    if rate.held_norms and not config.model.batch_norm:
        raise ValueError(
            "optimizer.held_norms is True, but without model.batch_norm a kernel's norm means "
            "something: set it to False."
        )
    growth = value["loss.beta_growth"]
    if config.loss.beta_growth == 0:
        growth = deep.GROWTH.get(config.method, growth)
    shared = {
        "model": model,
        "augment": augmentation(config),
        "beta": beta_schedule(
            beta=value["loss.beta"],
            growth=growth,
            power=value["loss.beta_power"],
        ),
        "ema_decay": training.ema_decay,
        "noise": config.semi.noise,
        "axis_name": model.axis_name,
    }

    stages: list[Stage] = []

    def stage(name, steps, objective, *, decode, weight_decay, parts, **options) -> Stage:
        start = stages[-1].stop if stages else 0
        schedule = functools.partial(
            make_schedule,
            rate.schedule,
            steps=steps,
            warmup_steps=round(rate.warmup * steps),
            boundaries=tuple(rate.boundaries),
            factor=rate.factor,
        )
        optimizer = make_optimizer(
            rate.name,
            schedule(peak=value["optimizer.learning_rate"]),
            adam_schedule=schedule(peak=rate.adam_learning_rate),
            weight_decay=weight_decay,
            parts=parts,
            momentum=rate.momentum,
            clip_norm=rate.clip_norm,
            held_norms=rate.held_norms,
            backbone_factor=rate.backbone_factor,
        )
        step = functools.partial(
            train_step,
            optimizer=optimizer,
            objective=objective,
            decode=decode,
            start=start,
            steps=steps,
            penalty_parts=parts,
            **shared,
            **options,
        )
        return Stage(name, start, start + steps, step, optimizer, training.batch_size)

    if training.mode == "two_stage":
        autoencoder_steps = duration(training, "autoencoder", steps_per_epoch)
        if not autoencoder_steps:
            raise ValueError(
                "training.mode is 'two_stage', but its autoencoder stage has no steps: set "
                "training.autoencoder_epochs or autoencoder_steps, or training.mode='joint'."
            )
        objective = autoencoder_objective(reconstruction=loss.reconstruction)
        _try(objective, model)
        # No weight decay here: the paper's λ||W||^2 belongs to the second stage's objective.
        stages.append(
            stage(
                "autoencoder",
                autoencoder_steps,
                objective,
                decode=True,
                weight_decay=0.0,
                parts=("encoder", "decoder"),
            )
        )
    objective = deep.objective(
        config.method,
        classes=model.classes,
        bits=model.bits,
        multilabel=multilabel,
        options={name: value for name, value in config.deep.items() if value is not None},
    ) or hashing_objective(
        multilabel=multilabel,
        applied_to=loss.applied_to,
        x=value["loss.x"],
        y=value["loss.y"],
        z=value["loss.z"],
        r=value["loss.r"],
        reconstruction_end=config.semi.reconstruction_end,
        bit_balance=loss.bit_balance,
        decorrelation=loss.decorrelation,
        multilabel_loss=loss.multilabel,
        exponent=loss.exponent,
        smoothing=loss.label_smoothing,
        reconstruction=loss.reconstruction,
        reduction=loss.reduction,
    )
    teacher_objective, teacher_options = objective, {}
    if learns_from_average(config):
        teacher_objective, teacher_options = _with_teacher(config, objective, multilabel, prior_C)
    _try(teacher_objective, model)
    if rate.weight_decay_in not in ("optimizer", "loss"):
        raise ValueError(
            f"optimizer.weight_decay_in is {rate.weight_decay_in!r}; it must be 'optimizer' or "
            "'loss'."
        )
    decode = loss.r > 0 and config.method == "dhs"
    decoupled = rate.weight_decay_in == "optimizer"
    hashing = {
        "decode": decode,
        "parts": decayed_parts(config, decode=decode),
        "freeze_encoder": frozen_encoder(config),
        "weight_decay": value["optimizer.weight_decay"] if decoupled else 0.0,
        "penalty": 0.0 if decoupled else value["optimizer.weight_decay"],
    }
    name = "hashing" if stages else "joint"
    if labels_steps := labels_first(config):
        batch = labelled_rows_per_batch(
            training.batch_size, training.labelled_share, has_unlabelled=True
        )
        labels = stage("labels", labels_steps, objective, **hashing)
        stages.append(dataclasses.replace(labels, batch=batch, has_unlabelled=False))
    stages.append(stage(name, hashing_steps, teacher_objective, **hashing, **teacher_options))
    return stages


def _with_teacher(
    config: ConfigDict, objective: Callable, multilabel: bool, prior_C: np.ndarray | None
) -> tuple[Callable, dict[str, Callable]]:
    """Return the objective with the teacher's terms, and what `train_step` needs for them."""
    options = config.semi
    label_of = semi.labeller(
        multilabel=multilabel,
        threshold=options.threshold,
        confident_share=options.confident_share,
        prior_C=prior_C,
        threshold_start=options.threshold_start,
        temperature=options.temperature,
        alignment=options.alignment,
    )
    with_teacher = semi.semi_objective(
        objective,
        label_of,
        multilabel=multilabel,
        pseudo_label=options.pseudo_label,
        consistency=options.consistency,
        ramp=options.ramp,
        similarity=options.similarity,
        similarity_temperature=options.similarity_temperature,
    )
    return with_teacher, {
        "strong": augmentation(config, "strong"),
        "confidence": functools.partial(semi.confidence, label_of),
    }


def _try(objective: Callable, model: DSH) -> None:
    """Trace an objective, so that a bad option stops now and not at the first batch."""
    image = jax.ShapeDtypeStruct((1, *model.shape), jnp.float32)
    bits = jax.ShapeDtypeStruct((1, model.bits), jnp.float32)
    classes = jax.ShapeDtypeStruct((1, model.classes), jnp.float32)
    feature = jax.ShapeDtypeStruct((1, model.fc_dim), jnp.float32)
    outputs = Outputs(feature, logit=bits, bcoding=bits, code=bits, score=classes, decoded=image)
    batch = {
        "label": classes,
        "is_labelled": jax.ShapeDtypeStruct((1,), bool),
        "target": bits,
        "key": jax.ShapeDtypeStruct((2,), jnp.uint32),
        "progress": jax.ShapeDtypeStruct((), jnp.float32),
        "teacher": outputs,
    }
    jax.eval_shape(lambda *args: objective(*args, None), outputs, image, batch)
