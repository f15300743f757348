"""From a config to data, network and stages, all settings checked."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import FrozenDict
from ml_collections import ConfigDict

from dsh_jax import parallel
from dsh_jax.augment import network_input
from dsh_jax.data import cache, pipeline, protocols, resident, sources, splits
from dsh_jax.data.source import Source
from dsh_jax.evaluation.encode import make_encoder
from dsh_jax.evaluation.views import VIEWS
from dsh_jax.methods import deep
from dsh_jax.network import DSH, STRIDE
from dsh_jax.network.backbones import BACKBONES
from dsh_jax.network.whitening import whitening_kernel
from dsh_jax.training.backbone import check_rgb, sees_features, with_backbone, with_features
from dsh_jax.training.settings import duration, learns_from_average
from dsh_jax.training.stages import Stage, make_stages
from dsh_jax.training.step import TrainState, create_state, with_whitening

CONV_OPTIONS = (
    *("whitening", "nonlinearity", "norm_momentum", "norm_scale"),
    *("pool_before_norm", "kernel_init", "pools", "global_pool"),
)
PRETRAINED_OPTIONS = ("side", "frozen_norms", "nonlinearity", "norm_momentum", "norm_scale")
WHITENED = 5000  # training rows whose patches whitening is made of


def load_source(config: ConfigDict) -> Source:
    """Return the images of a config, decoded already where its cache says so, or their features.

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
        label_column=data.label_column,
        cache_dir=data.cache_dir,
    )
    source = cache.cached(source, cache=data.cache, cache_dir=data.cache_dir, skip=data.skip)
    return with_features(config, source)


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
    shape = height, width, channels = source.images.shape
    if not sees_features(config):
        if not config.data.pad_small and min(height, width) < STRIDE:
            raise ValueError(
                f"the images of {source.name} are {height}×{width}; five 2×2 pools need at least "
                f"{STRIDE}×{STRIDE}: set data.pad_small=True, or data.image_size={STRIDE}."
            )
        shape = max(height, STRIDE), max(width, STRIDE), channels
    if options.encoder in BACKBONES:
        check_rgb(source, options.encoder)
    return DSH(
        bits=options.bits,
        classes=len(source.label_names),
        shape=shape,
        activation=options.activation,
        width=options.width,
        convs_per_group=tuple(options.convs_per_group),
        pool_after=options.pool_after,
        fc_dim=options.fc_dim,
        batch_norm=options.batch_norm,
        decode_from=options.decode_from,
        **deep.NETWORKS.get(config.method, {}),
        axis_name=parallel.AXIS,
        dtype=jnp.dtype(options.dtype),
        conv_precision=options.conv_precision,
        encoder_name=options.encoder,
        encoder_options=_encoder_options(options),
    )


def _encoder_options(options: ConfigDict) -> FrozenDict:
    """Return what only one kind of encoder takes of `config.model`."""
    is_conv = options.encoder == "conv"
    found = {name: options[name] for name in (CONV_OPTIONS if is_conv else PRETRAINED_OPTIONS)}
    if is_conv:
        found["filters"] = tuple(options.filters)
    return FrozenDict(found)


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
      columns: returns what batches hold besides images and labels, see `deep.columns`.
      prior_C: share of the labelled rows that have each class.
      begun: returns a state that begins with what a pretrained network knows.
      labelled_share: of a batch.
      flips: whether every other epoch mirrors a row, see `pipeline.train_batches`.
      is_resident: whether the images lie on the devices, see `resident.fits`.
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
    prior_C: np.ndarray | None = None
    begun: Callable[[TrainState], TrainState] = lambda state: state
    labelled_share: float = 1.0
    flips: bool = False
    is_resident: bool = False

    def batches(
        self,
        stage: Stage,
        start_step: int,
        *,
        seed: int | None = None,
        devices: int | None = None,
    ) -> Iterator[pipeline.Batch]:
        """Yield this process's batches of a stage, see `pipeline.train_batches`.

        Args:
          stage: one of `stages`.
          start_step: the first step.
          seed: in place of the run's.
          devices: among which batches are shared out, in place of all of this process.
        """
        return pipeline.train_batches(
            self.source,
            self.split.labelled,
            self._unlabelled(stage),
            batch=stage.batch,
            labelled_share=self.labelled_share,
            devices=devices or parallel.device_count(),
            seed=self.seed if seed is None else seed,
            start_step=start_step,
            stop_step=stage.stop,
            process=parallel.process_index(),
            processes=parallel.process_count(),
            columns=self.columns(),
            flips=self.flips,
        )

    def arrays(self, stage: Stage) -> dict[str, Any]:
        """Return what a stage's `steps` read, on the devices.

        Args:
          stage: one of `stages`.
        """
        pools = resident.pools_of(
            self.split.labelled,
            self._unlabelled(stage),
            batch=stage.batch,
            labelled_share=self.labelled_share,
            seed=self.seed,
            stop_step=stage.stop,
        )
        return {**self._rows, **parallel.replicate_everywhere(pools)}

    @functools.cached_property
    def _rows(self) -> dict[str, Any]:
        """The images and labels, placed once for all stages."""
        rows = resident.rows_of(
            self.source, seed=self.seed, columns=self.columns(), flips=self.flips
        )
        return parallel.replicate_everywhere(rows)

    def _unlabelled(self, stage: Stage) -> np.ndarray:
        return self.split.unlabelled[: None if stage.has_unlabelled else 0]

    def initial_state(self, step: int = 0, *, seed: int | None = None) -> TrainState:
        """Return an untrained state with the optimizer of the stage that made `step`.

        Args:
          step: of the run.
          seed: in place of the run's own.
        """
        state = self._state_of(step, self.seed if seed is None else seed)
        state = self.begun(state)
        kernel = self._whitening_kernel
        return state if kernel is None else with_whitening(state, kernel)

    def _state_of(self, step: int, seed: int) -> TrainState:
        """Return an untrained state, its whitening filters all 0."""
        stage = next((stage for stage in self.stages if step <= stage.stop), self.stages[-1])
        return create_state(self.model, stage.optimizer, seed=seed, ema=self.ema)

    @functools.cached_property
    def _whitening_kernel(self) -> np.ndarray | None:
        """The filters of training rows, the same for every seed; None where none are wanted."""
        side = self.model.encoder_options.get("whitening", 0)
        if not side:
            return None
        rows = np.random.default_rng(0).permutation(self.split.train)[:WHITENED]
        batches = pipeline.evaluation_batches(self.source, rows, batch=500, devices=1)
        image = np.concatenate([batch["image"][batch["mask"]] for batch in batches])
        return whitening_kernel(np.asarray(network_input(jnp.asarray(image))), side)

    @property
    def kept_steps(self) -> tuple[int, ...]:
        """The steps whose states stay: where the next stage leaves the decoder behind."""
        return tuple(stage.stop for stage in self.stages[:-1])

    def state_shapes(self, step: int) -> TrainState:
        """Return the shapes and types of the state after `step`, without computing any."""
        return jax.eval_shape(lambda: self._state_of(step, self.seed))


def check_unlabelled(config: ConfigDict, source: Source, split: splits.Split, devices: int) -> None:
    """Check that there is something for unlabelled rows to learn, and from.

    Args:
      config: of the run.
      source, split: its data.
      devices: that share a batch.

    Raises:
      ValueError: without unlabelled rows, in the split or in the batches; where a batch's labelled
        rows are to be alone but do not divide by the devices; or for a class that no labelled row
        has: the teacher could never name it.
    """
    if not len(split.unlabelled):
        raise ValueError(
            "semi has terms of unlabelled rows, but the split has none: set data.labels_per_class "
            "or data.label_fraction < 1, or semi.pseudo_label, consistency and similarity to 0."
        )
    training = config.training
    labelled = pipeline.labelled_rows_per_batch(
        training.batch_size, training.labelled_share, has_unlabelled=True
    )
    if labelled == training.batch_size:
        raise ValueError(
            f"semi has terms of unlabelled rows, but training.labelled_share is "
            f"{training.labelled_share}: no batch has one; set it to .25, for instance."
        )
    if config.semi.labels_first_steps and labelled % devices:
        raise ValueError(
            f"semi.labels_first_steps is {config.semi.labels_first_steps}, but the {labelled} "
            f"labelled rows of a batch do not divide by {devices} devices: change "
            "training.batch_size or training.labelled_share."
        )
    lacking = np.flatnonzero(~source.label_NxC[split.labelled].any(0))
    if len(lacking):
        names = ", ".join(source.label_names[c] for c in lacking[:5])
        raise ValueError(
            f"{len(lacking)} of {len(source.label_names)} classes have no labelled row ({names}): "
            "unlabelled rows cannot be given them; label more with data.labels_per_class or "
            "data.label_fraction, or leave these classes out of the data."
        )


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
    devices = parallel.global_device_count()
    pipeline.check_batch(training.batch_size, devices)
    pipeline.labelled_rows_per_batch(
        training.batch_size, training.labelled_share, has_unlabelled=len(split.unlabelled) > 0
    )
    if config.evaluation.views not in VIEWS:
        raise ValueError(f"evaluation.views is {config.evaluation.views}; it must be 1, 2 or 6.")
    if config.evaluation.views > 1 and sees_features(config):
        raise ValueError(
            f"evaluation.views is {config.evaluation.views}, but features have one view: set "
            "evaluation.views=1."
        )
    model = make_model(config, source)
    is_semi = learns_from_average(config)
    if is_semi:
        check_unlabelled(config, source, split, devices)
    prior_C = source.label_NxC[split.labelled].mean(0).astype(np.float32)

    def begun(state: TrainState) -> TrainState:
        if config.model.encoder not in BACKBONES or sees_features(config):
            return state
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        known = with_backbone(variables, config)
        # Copies, and none shared: a step takes the memory of its state.
        copied = lambda: jax.tree.map(jnp.array, known)  # noqa: E731
        return state.replace(**copied(), ema=None if state.ema is None else copied())

    @functools.cache
    def columns() -> dict[str, np.ndarray]:
        own = deep.columns(config.method, source.label_NxC, split.labelled, bits=model.bits)
        if is_semi and source.label_NxC[split.unlabelled].any(1).all():
            own["truth"] = source.label_NxC.astype(np.float32)
        return own

    return Run(
        source=source,
        split=split,
        model=model,
        encoder=make_encoder(model, views=config.evaluation.views),
        stages=make_stages(config, model, steps_per_epoch, source.multilabel, prior_C),
        steps_per_epoch=steps_per_epoch,
        seed=config.seed,
        ema=training.ema_decay > 0,
        columns=columns,
        prior_C=prior_C,
        begun=begun,
        labelled_share=training.labelled_share,
        flips=config.augment.flip_by_epoch,
        is_resident=resident.fits(source, config.data.resident, parallel.device_memory()),
    )
