"""From a config to data, network and stages, all settings checked."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dsh_jax import methods, parallel
from dsh_jax.data import cache, pipeline, protocols, sources, splits
from dsh_jax.data.source import Source
from dsh_jax.encode import make_encoder
from dsh_jax.models import DSH, STRIDE
from dsh_jax.stages import Stage, duration, make_stages
from dsh_jax.step import TrainState, create_state


def load_source(config: ConfigDict) -> Source:
    """Return the images of a config, decoded already where its cache says so.

    Args:
      config: of the run.

    Returns:
      Source.

    Raises:
      ValueError: for bad settings or data, see `sources.load` and `cache.cached`.
    """
    data = config.data
    source = sources.load(
        data.name,
        data_dir=data.data_dir,
        labels_path=data.labels_path,
        image_size=data.image_size,
        fit=data.fit,
        concepts=data.concepts,
        separator=data.separator,
        path_prefix=data.path_prefix,
        skip=data.skip,
    )
    return cache.cached(source, cache=data.cache, cache_dir=data.cache_dir, skip=data.skip)


def load_split(config: ConfigDict, source: Source) -> splits.Split:
    """Return the split of a config: the saved one that it names, or one by its protocol.

    Args:
      config: of the run.
      source: its images.

    Returns:
      Split.

    Raises:
      ValueError: for bad settings, see `protocols.make_split`, or a split of other data.
    """
    data = config.data
    if data.split_path:
        return splits.load_for(source, data.split_path)
    return protocols.make_split(
        source,
        protocol=data.protocol,
        seed=data.split_seed,
        validation=data.validation,
        unseen=data.unseen,
        queries=data.queries,
        train_rows=data.train_rows,
        labels_per_class=data.labels_per_class,
        label_fraction=data.label_fraction,
        label_less=data.label_less,
    )


def make_model(config: ConfigDict, source: Source) -> DSH:
    """Return the network of a config for the images of a source.

    Args:
      config: of the run.
      source: gives the images' shape and the number of classes.

    Returns:
      DSH.

    Raises:
      ValueError: for bits below 1, another dtype, or images too small without `data.pad_small`.
    """
    options = config.model
    if options.bits < 1:
        raise ValueError(f"model.bits is {options.bits}; a code needs at least 1 bit, e.g. 48.")
    if options.dtype not in ("float32", "bfloat16"):
        raise ValueError(f"model.dtype is {options.dtype!r}; it must be 'float32' or 'bfloat16'.")
    height, width, channels = source.images.shape
    if not config.data.pad_small and min(height, width) < STRIDE:
        raise ValueError(
            f"the images of {source.name} are {height}×{width}; five 2×2 pools need at least "
            f"{STRIDE}×{STRIDE}: set data.pad_small=True, or data.image_size={STRIDE}."
        )
    return DSH(
        bits=options.bits,
        classes=len(source.label_names),
        shape=(max(height, STRIDE), max(width, STRIDE), channels),
        activation=options.activation,
        width=options.width,
        convs_per_group=tuple(options.convs_per_group),
        pool_after=options.pool_after,
        fc_dim=options.fc_dim,
        batch_norm=options.batch_norm,
        decode_from=options.decode_from,
        **methods.NETWORKS.get(config.method, {}),
        axis_name=parallel.AXIS,
        dtype=jnp.dtype(options.dtype),
    )


@dataclasses.dataclass(frozen=True)
class Run:
    """What a config describes.

    Attributes:
      source, split: the data.
      model: the network.
      encoder: its evaluation, see `encode.make_encoder`.
      stages: of training, in order.
      steps_per_epoch: training rows / batch, rounded up.
      seed: of parameters and draws.
      ema: whether averages of the weights are kept.
      columns: returns what batches hold besides images and labels, see `methods.columns`.
    """

    source: Source
    split: splits.Split
    model: DSH
    encoder: Callable
    stages: list[Stage]
    steps_per_epoch: int
    seed: int
    ema: bool
    columns: Callable[[], dict[str, np.ndarray]] = dict

    def initial_state(self, step: int = 0) -> TrainState:
        """Return an untrained state with the optimizer of the stage that made `step`."""
        stage = next((stage for stage in self.stages if step <= stage.stop), self.stages[-1])
        return create_state(self.model, stage.optimizer, seed=self.seed, ema=self.ema)

    def state_shapes(self, step: int) -> TrainState:
        """Return the shapes and types of the state after `step`, without computing any."""
        return jax.eval_shape(lambda: self.initial_state(step))


def build(config: ConfigDict) -> Run:
    """Return the data, the network and the stages of a config, all settings checked.

    Args:
      config: see configs/default.py.

    Returns:
      Run.

    Raises:
      ValueError: for bad settings, each saying how to mend them.
    """
    training = config.training
    source = load_source(config)
    split = load_split(config, source)
    steps_per_epoch = -(-len(split.train) // max(training.batch_size, 1))
    # These two only to fail now, and not at the first batch.
    duration(config.evaluation, "validate_every", steps_per_epoch)
    pipeline.check_batch(training.batch_size, parallel.global_device_count())
    pipeline.labelled_rows_per_batch(
        training.batch_size, training.labelled_share, has_unlabelled=len(split.unlabelled) > 0
    )
    model = make_model(config, source)
    return Run(
        source=source,
        split=split,
        model=model,
        encoder=make_encoder(model),
        stages=make_stages(config, model, steps_per_epoch, source.multilabel),
        steps_per_epoch=steps_per_epoch,
        seed=config.seed,
        ema=training.ema_decay > 0,
        columns=functools.cache(
            functools.partial(
                methods.columns, config.method, source.label_NxC, split.labelled, bits=model.bits
            )
        ),
    )
