"""Runs that differ in scalars and seeds only, trained together by one compiled program.

    scalars_P, state_P, batch_S  ->  state_P, metrics_P

Each of the P points has its own parameters, draws and batches: those of its single run, and what it
leaves in its folder is what the single run would leave. Points of one seed see one batch, which a
device holds once, so that S is the number of its seeds. Where P divides by the number of devices,
each device trains its share of the points on whole batches; otherwise every device trains all
points on its part of each batch, as in single runs. On a CPU the points of a device take turns
inside the program; on other backends they are one vmap, whose grouped convolutions a CPU computes
1.2 to 3 times as slowly.
"""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import parallel
from dsh_jax.data import pipeline, splits
from dsh_jax.runs import capacity, evaluate
from dsh_jax.runs.point import NOT_FINITE, Point, check_configs
from dsh_jax.runs.train import Validator
from dsh_jax.training import build, writers
from dsh_jax.training.interruption import Interruption
from dsh_jax.training.lock import locked
from dsh_jax.training.pace import Pace
from dsh_jax.training.run_folder import flatten, open_run
from dsh_jax.training.settings import duration
from dsh_jax.training.stages import SCALARS, Stage, one_device_stages
from dsh_jax.training.step import TrainState

Outcome = Literal["complete", "interrupted", "not finite"]


def train(
    configs: Sequence[ConfigDict],
    workdirs: Sequence[epath.PathLike],
    *,
    described: build.Run | None = None,
    stop_step: int | None = None,
    take_turns: bool | None = None,
) -> list[Outcome]:
    """Train several runs together, each from its latest checkpoint where there is one.

    Points that have other terms (r, x or, in the loss, λ is 0 for some), or that have come to
    another step, are trained after one another, each such group by one program, or by several where
    a device's memory would not hold it: see `capacity.parts`. A point whose loss is not finite is
    left out of all that is written from then on, and its folder tells so in `not_finite.txt`; the
    others go on.

    Args:
      configs: one for each point; they may differ in the settings of `point.VARIED`.
      workdirs: the points' folders, all different.
      described: what `build.build` makes of the first config, where the caller has it already.
      stop_step: save and stop after this step, as an interruption would.
      take_turns: whether the points of a device are trained in turn rather than in one vmap; by
        default on a CPU only.

    Returns:
      What became of each point: `complete`, `interrupted` or `not finite`.

    Raises:
      ValueError: where the configs differ in another setting, for bad settings, and where another
        process trains in one of the folders.
      OSError: where the disk is full or gone.
    """
    check_configs(configs, workdirs)
    if parallel.process_count() > 1:
        raise ValueError(
            f"there are {parallel.process_count()} processes, but points are trained together by "
            "one: start a process for each of several populations instead."
        )
    run = described or build.build(configs[0])
    for config in configs:  # a bad setting must stop here, before there is any folder
        one_device_stages(
            config, run.model, run.steps_per_epoch, run.source.multilabel, run.prior_C
        )
    run.state_shapes(0)
    if take_turns is None:
        take_turns = jax.default_backend() == "cpu"
    started = time.monotonic()
    outcomes: list[Outcome] = ["not finite"] * len(configs)
    with contextlib.ExitStack() as stack:
        for workdir in workdirs:
            stack.enter_context(locked(workdir))
        points = []
        for number, (config, workdir) in enumerate(zip(configs, workdirs, strict=True)):
            folder = open_run(config, workdir)
            if (folder / "split.npz").exists():
                evaluate.check_split(run.split, folder)
            splits.save(run.split, folder / "split.npz")
            if (folder / NOT_FINITE).exists():
                logging.warning("%s: %s", folder, (folder / NOT_FINITE).read_text().strip())
            else:
                points.append(Point(number, config, run, folder))
                stack.callback(points[-1].close)
        if points:
            table = writers.parameter_table(points[0].state.params)
            logging.info("%s: %s\n%s", run.source.name, run.split.describe(), table)
        interruption = Interruption()
        stack.callback(interruption.restore)
        validator = Validator(configs[0], run)
        last = run.stages[-1].stop
        for group in _groups(points):
            for part in _parts(run, group):
                if part[0].step < last and not interruption.asked:
                    _Group(run, part, validator, interruption)(stop_step, take_turns=take_turns)
        for point in points:
            if not point.failed:
                outcomes[point.number] = "complete" if point.step == last else "interrupted"
    logging.info("training %d points took %.1f s", len(configs), time.monotonic() - started)
    return outcomes


def _groups(points: Sequence[Point]) -> list[list[Point]]:
    """Return the points that one program can train: at one step, and with the same terms."""
    groups = collections.defaultdict(list)
    for point in sorted(points, key=lambda point: point.config.seed):  # a device has few seeds
        optimizer = point.config.optimizer
        is_penalised = optimizer.weight_decay_in == "loss" and optimizer.weight_decay > 0
        loss = point.config.loss
        groups[point.step, loss.r > 0, loss.x > 0, is_penalised].append(point)
    return list(groups.values())


def _parts(run: build.Run, points: Sequence[Point]) -> list[list[Point]]:
    """Return the points that a device's memory holds together."""
    memory, config, size = parallel.device_memory(), points[0].config, 0
    if memory:
        decode = config.loss.r > 0 or config.training.mode == "two_stage"
        size = capacity.point_bytes(run, decode=decode)
    return capacity.parts(points, point=size, memory=memory, devices=parallel.device_count())


def map_points(
    step: Callable[[Any, Any, Any], tuple[Any, Any]], *, take_turns: bool, spread: bool
) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return a point's training step mapped over points and devices.

    Args:
      step: `(scalars, state, batch) -> (state, metrics)` of one point on one device.
      take_turns: whether a device trains its points in turn rather than in one vmap.
      spread: whether each device holds points of its own; otherwise each holds all points and a
        part of their batches, over which the step must average (see `parallel.parallel_step`).

    Returns:
      `((seed, scalars, state), batch) -> (the same three, metrics)`; `seed` says which of the
      device's batches is a point's. The batch has the leading axes [devices, seeds of a device],
      the others [devices, points of a device] where `spread`, and [points] where not.
    """

    def points_step(carry, batch_S):
        seeds = len(jax.tree.leaves(batch_S)[0])

        def one(seed, scalars, state):
            # A batch for all points stays one under vmap, too.
            batch = jax.tree.map(lambda x: x[seed if seeds > 1 else 0], batch_S)
            return step(scalars, state, batch)

        if take_turns:
            state_P, metrics_P = jax.lax.map(lambda point: one(*point), carry)
        else:
            state_P, metrics_P = jax.vmap(one)(*carry)
        return (*carry[:-1], state_P), metrics_P

    return parallel.parallel_points(points_step) if spread else parallel.parallel_step(points_step)


def seeds_of_devices(seeds: Sequence[int], devices: int) -> tuple[list[list[int]], list[int]]:
    """Return the seeds of each device's points, as many for each device.

    Args:
      seeds: of the points, those of the first device first.
      devices: of which each has as many points.

    Returns:
      (seeds of each device, for each point which of its device's it has).
    """
    each = np.split(np.asarray(seeds), devices)
    unlike = [list(dict.fromkeys(own.tolist())) for own in each]
    most = max(map(len, unlike))
    rows = [found.index(seed) for found, own in zip(unlike, each, strict=True) for seed in own]
    return [[*found, *found[:1] * (most - len(found))] for found in unlike], rows


class _Group:
    """The steps of points that one program can train."""

    def __init__(
        self,
        run: build.Run,
        points: list[Point],
        validator: Validator,
        interruption: Interruption,
    ):
        self._run = run
        self._points = points
        self._validator = validator
        self._interruption = interruption
        self._config = points[0].config  # for all that the points share
        self._spread = len(points) % parallel.device_count() == 0
        devices = parallel.device_count() if self._spread else 1
        seeds = [point.config.seed for point in points]
        self._seeds, self._seed_rows = seeds_of_devices(seeds, devices)

    def __call__(self, stop_step: int | None, *, take_turns: bool) -> None:
        """Train through all stages, or until the step where to stop."""
        # Where a batch is not shared by the devices, neither are its statistics.
        model = self._run.model.clone(axis_name=None) if self._spread else self._run.model
        scalars_P, done = self._scalars(), self._points[0].step
        seed_P = np.array(self._seed_rows, np.int32)
        state_P = jax.tree.map(lambda *x: np.stack(x), *[point.state for point in self._points])
        for point in self._points:
            point.state = None  # one copy is enough
        for number, stage in enumerate(self._run.stages):
            if done >= stage.stop:
                continue
            if done == stage.start:
                state_P = _enter(state_P, stage)

            def step_of_point(scalars, state, batch, number=number):
                stages = one_device_stages(
                    self._config,
                    model,
                    self._run.steps_per_epoch,
                    self._run.source.multilabel,
                    self._run.prior_C,
                    scalars,
                )
                return stages[number].step(state, batch)

            step = map_points(step_of_point, take_turns=take_turns, spread=self._spread)
            carry, done = self._train_stage(
                stage, step, self._on_devices((seed_P, scalars_P, state_P)), done, stop_step
            )
            state_P = self._on_host(carry[-1])
            if done in (None, stop_step) or done < stage.stop or self._interruption.asked:
                return

    def _scalars(self) -> dict[str, np.ndarray]:
        """Return the values [P] of the settings that differ; the others stay constants."""
        flat = [flatten(point.config.to_dict()) for point in self._points]
        return {
            name: np.array([one[name] for one in flat], np.float32)
            for name in SCALARS
            if any(one[name] != flat[0][name] for one in flat)
        }

    def _train_stage(
        self, stage: Stage, train_step: Callable, carry: Any, first: int, stop: int | None
    ) -> tuple[Any, int | None]:
        """Return what was carried and the steps done; None where every point has failed."""
        training, run = self._config.training, self._run
        validate_every = (
            duration(self._config.evaluation, "validate_every", run.steps_per_epoch) or stage.stop
        )
        progress = writers.progress_reports(run.stages[-1].stop)
        batches = parallel.prefetch(self._batches(stage, first))
        unread: list[tuple[int, Any]] = []
        pace = Pace(stage.batch)  # of each point: all of them take a step at a time
        step = first
        try:
            for step, batch in enumerate(batches, start=first + 1):
                carry, metrics = train_step(carry, batch)
                # Step N is on its way: reading step N−1 now never stalls the devices.
                self._read(unread)
                unread = [(step, metrics)]
                if step == first + 1:  # it was compiled
                    jax.block_until_ready(metrics)
                    pace.pause()
                else:
                    pace.step()
                progress(step)
                stopping = self._interruption.reached(step) or step in (stage.stop, stop)
                is_log = step % training.log_every_steps == 0 or step == stage.stop
                is_validation = step % validate_every == 0 or step == stage.stop
                if is_log or is_validation or stopping:
                    self._read(unread)
                    unread = []
                if all(point.failed for point in self._points):
                    return carry, None
                if is_log:
                    speed = pace.scalars()
                    for _, point in self._alive():
                        point.record(stage.name, step, speed)
                if is_validation or stopping:
                    # The autoencoder's codes mean nothing yet.
                    validate = is_validation and stage.name != "autoencoder"
                    self._save(step, carry[-1], validate=validate)
                    pace.pause()
                if stopping:
                    break
        finally:
            batches.close()
        return carry, step

    def _batches(self, stage: Stage, start: int) -> Iterator[pipeline.Batch]:
        """Yield what the points' single runs would see, [devices, seeds of a device, rows, …]."""
        devices = 1 if self._spread else None
        streams = {
            seed: self._run.batches(stage, start, seed=seed, devices=devices)
            for seed in {seed for own in self._seeds for seed in own}
        }
        for _ in range(start, stage.stop):
            of_seed = {seed: next(stream) for seed, stream in streams.items()}
            each = [[of_seed[seed] for seed in own] for own in self._seeds]
            stacked = [jax.tree.map(lambda *x: np.stack(x, axis=1), *own) for own in each]
            yield jax.tree.map(lambda *x: np.concatenate(x), *stacked)

    def _alive(self) -> list[tuple[int, Point]]:
        """Return the points that have not failed, with their rows in the arrays [P, …]."""
        return [(row, point) for row, point in enumerate(self._points) if not point.failed]

    def _on_devices(self, tree_P: Any) -> Any:
        """Place the arrays [P, …] of all points where they are trained."""
        if self._spread:
            return parallel.shard(_by_device(tree_P))
        return parallel.replicate(tree_P)

    def _on_host(self, tree: Any) -> Any:
        """Return the arrays [P, …] of all points, however they lie on the devices."""
        tree = jax.device_get(tree)
        if self._spread:
            tree = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)
        return tree

    def _read(self, unread: list[tuple[int, Any]]) -> None:
        """Fetch metrics from the devices."""
        for step, metrics in unread:
            metrics_P = self._on_host(metrics)
            for row, point in self._alive():
                point.note(step, {name: value_P[row] for name, value_P in metrics_P.items()})

    def _save(self, step: int, state: TrainState, *, validate: bool) -> None:
        """Save each point, and validate before where it is due."""
        state_P = self._on_host(state)
        for row, point in self._alive():
            state = jax.tree.map(lambda x, row=row: x[row, ...], state_P)
            point.save(step, state, self._validator(state) if validate else {})


def _enter(state_P: TrainState, stage: Stage) -> TrainState:
    """Return the states with fresh optimizers, and averages that start from now."""
    ema = state_P.ema
    if ema is not None:
        # Copies: one buffer under two names cannot be donated.
        now = {"params": state_P.params, "batch_stats": state_P.batch_stats}
        ema = jax.tree.map(np.array, now)
    opt_state = jax.device_get(jax.vmap(stage.optimizer.init)(state_P.params))
    return state_P.replace(opt_state=opt_state, ema=ema)


def _by_device(tree_P: Any) -> Any:
    """Return arrays [P, …] as [devices, points of a device, …]."""
    devices = parallel.device_count()
    return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), tree_P)
