"""What the settings of a training mean, and which do not go together."""

from __future__ import annotations

from ml_collections import ConfigDict

from dsh_jax.methods import deep


def duration(settings: ConfigDict, name: str, steps_per_epoch: int) -> int:
    """Return a duration in steps, given as `<name>_steps` or `<name>_epochs`.

    Args:
      settings: that hold both fields; the one that is 0 is not used.
      name: of the duration.
      steps_per_epoch: training rows / batch, rounded up.

    Returns:
      Steps.

    Raises:
      ValueError: where both are set, or one is negative.
    """
    steps, epochs = settings[f"{name}_steps"], settings[f"{name}_epochs"]
    if min(steps, epochs) < 0 or (steps and epochs):
        raise ValueError(
            f"{name}_steps is {steps} and {name}_epochs is {epochs}: set one of them, above 0, "
            "and leave the other 0."
        )
    return steps or round(epochs * steps_per_epoch)


def labels_first(config: ConfigDict) -> int:
    """Return the steps on labelled rows alone, before unlabelled ones enter.

    Args:
      config: of the run.

    Raises:
      ValueError: for a negative number, or where nothing learns from unlabelled rows later.
    """
    steps = config.semi.labels_first_steps
    if steps < 0 or (steps and not learns_from_average(config)):
        raise ValueError(
            f"semi.labels_first_steps is {steps}; it must be 0, or above it with a term of "
            "unlabelled rows, such as semi.pseudo_label."
        )
    return steps


def frozen_encoder(config: ConfigDict) -> bool:
    """Return whether the hashing stage leaves the encoder as the autoencoder has made it.

    Args:
      config: of the run.

    Raises:
      ValueError: for another part, or without a stage before that trains it.
    """
    part = config.training.freeze
    if part not in ("", "encoder", "backbone"):
        raise ValueError(
            f"training.freeze is {part!r}; it must be 'encoder', 'backbone', or empty for none."
        )
    if part == "backbone":  # its features were computed before
        return False
    if part and config.training.mode != "two_stage":
        raise ValueError(
            f"training.freeze is {part!r}, but training.mode is {config.training.mode!r}: the "
            "encoder would stay as it was drawn; set training.mode='two_stage'."
        )
    return bool(part)


def decayed_parts(config: ConfigDict, *, decode: bool) -> tuple[str, ...]:
    """Return the parts of the network whose kernels are W of λ||W||^2 in the last stage.

    Never one that no gradient of the objective reaches: Adam makes full steps of a penalty alone,
    and decay would take the part apart.

    Args:
      config: of the run.
      decode: whether the decoder runs.

    Returns:
      Names of children of `network.DSH`.

    Raises:
      ValueError: for another set of kernels, or a classifier that is not trained.
    """
    kernels = config.optimizer.weight_decay_kernels
    if kernels not in ("trained", "classifier"):
        raise ValueError(
            f"optimizer.weight_decay_kernels is {kernels!r}; it must be 'trained' or 'classifier'."
        )
    trained = deep.trained_parts(config.method) + (("decoder",) if decode else ())
    unreached = {"encoder"} if frozen_encoder(config) else set()
    if config.method == "dhs" and not (config.loss.x or config.semi.pseudo_label):
        unreached.add("classifier")
    trained = tuple(part for part in trained if part not in unreached)
    if kernels == "classifier" and "classifier" not in trained:
        raise ValueError(
            f"optimizer.weight_decay_kernels is 'classifier', but the objective of {config.method} "
            "does not reach it: set optimizer.weight_decay_kernels='trained'."
        )
    return trained if kernels == "trained" else ("classifier",)


def learns_from_average(config: ConfigDict) -> bool:
    """Return whether a config has terms by which unlabelled rows learn from the weights' average.

    Args:
      config: of the run.

    Raises:
      ValueError: where it has, but lacks the average, or is of another method.
    """
    weights = {
        f"semi.{name}": config.semi[name] for name in ("pseudo_label", "consistency", "similarity")
    }
    given = {name: value for name, value in weights.items() if value}
    if not given:
        return False
    name, value = next(iter(given.items()))
    if config.method != "dhs":
        raise ValueError(
            f"{name} is {value}, but the method is {config.method}: only dhs has such a term; set "
            f"{name}=0."
        )
    if not config.training.ema_decay:
        raise ValueError(
            f"{name} is {value}, but the network has no average to learn from: set "
            "training.ema_decay, e.g. to .99."
        )
    return True
