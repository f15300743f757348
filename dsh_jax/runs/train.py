"""The training loop: steps, validation, checkpoints; the same call goes on where it stopped."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import parallel
from dsh_jax.data import splits
from dsh_jax.evaluation import results
from dsh_jax.evaluation.encode import encode_rows
from dsh_jax.runs import evaluate
from dsh_jax.training import build, writers
from dsh_jax.training.interruption import Interruption
from dsh_jax.training.journal import Journal
from dsh_jax.training.lock import locked
from dsh_jax.training.pace import Pace
from dsh_jax.training.run_folder import open_run
from dsh_jax.training.settings import duration
from dsh_jax.training.stages import Stage
from dsh_jax.training.step import TrainState


def train(
    config: ConfigDict,
    workdir: epath.PathLike,
    *,
    described: build.Run | None = None,
    stop_step: int | None = None,
    profile_steps: int = 0,
) -> bool:
    """Train a network to the end of its config, from the latest checkpoint where there is one.

    Args:
      config: see configs/default.py.
      workdir: the run's folder; holds config, split, metrics, TensorBoard files, checkpoints.
      described: what `build.build` makes of the config, where the caller has it already.
      stop_step: save and stop after this step, as an interruption would.
      profile_steps: how many steps to trace into `workdir/profile`, from the tenth of this process.

    Returns:
      True where training is complete, False where it was interrupted.

    Raises:
      ValueError: for bad settings, each saying how to mend them; where another process trains in
        the folder.
      FloatingPointError: where a loss is not finite.
      OSError: where the disk is full or gone.
    """
    run = described or build.build(config)
    run.state_shapes(0)  # a bad setting must stop here, before the folder holds this config
    # What is written once is written by process 0.
    is_first = parallel.process_index() == 0
    with locked(workdir) if is_first else contextlib.nullcontext():
        if is_first:
            folder = open_run(config, workdir)
            if (folder / "split.npz").exists():
                evaluate.check_split(run.split, folder)
            splits.save(run.split, folder / "split.npz")
        parallel.wait_for_all("folder")
        folder = epath.Path(workdir).expanduser().resolve()
        profile = None
        if profile_steps:
            profile = writers.profile(folder / "profile", profile_steps)
        return _train(config, run, folder, stop_step, profile)


def _train(
    config: ConfigDict,
    run: build.Run,
    folder: epath.Path,
    stop_step: int | None,
    profile: Callable[[int], Any] | None,
) -> bool:
    """Train in a folder that is this process's own."""
    started = time.monotonic()
    state = run.initial_state()
    logging.info("%s, protocol %s: %s", run.source.name, config.data.protocol, run.split.describe())
    for note in (*run.source.notes, *run.split.notes):
        logging.info("%s", note)
    logging.info("\n%s", writers.parameter_table(state.params))

    journal, done = Journal(folder, run.state_shapes, kept=run.kept_steps), 0
    if journal.saved is not None:
        done, state = journal.saved.step, journal.saved.state
    validator = Validator(config, run)
    interruption = Interruption()
    try:
        for stage in run.stages:
            if done >= stage.stop:
                continue
            if done == stage.start:
                state = _enter(state, stage)
            # As the step returns it: it would compile again for its own results.
            state = parallel.replicate_everywhere(state)
            loop = _Loop(config, run, stage, journal, validator, interruption, profile)
            state, done = loop(state, stop_step=stop_step)
            # A stage may be complete where the run is not.
            stopped = done == stop_step or interruption.asked
            if done < stage.stop or (stopped and stage is not run.stages[-1]):
                logging.info("stopped after step %d; the same command goes on from there", done)
                return False
        logging.info("training took %.1f s", time.monotonic() - started)
        return True
    finally:
        interruption.restore()
        journal.close()


def _enter(state: TrainState, stage: Stage) -> TrainState:
    """Return the state with a fresh optimizer, and averages that start from now."""
    now = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
    # Copies: one buffer under two names cannot be donated.
    ema = None if state.ema is None else jax.tree.map(np.array, now)
    return state.replace(opt_state=stage.optimizer.init(now["params"]), ema=ema)


class Validator:
    """Validation mAP: validation rows as queries, training rows as the database.

    Args:
      config: of the run.
      run: what `build.build` made; a seeded part of its training rows serves as the database.
    """

    def __init__(self, config: ConfigDict, run: build.Run):
        self._source = run.source
        self._bits = config.model.bits
        self._batch = config.evaluation.batch_size
        self._encoder = run.encoder
        self._query = run.split.validation
        rng = np.random.default_rng(config.data.split_seed)
        size = min(config.evaluation.validation_database, len(run.split.train))
        self._database = np.sort(rng.permutation(run.split.train)[:size])

    def __call__(self, state: TrainState) -> dict[str, float]:
        """Return `map` and `accuracy`, or nothing where there are no validation rows."""
        if not len(self._query):
            return {}
        variables = state.evaluation_variables()
        query, database = (
            encode_rows(self._encoder, variables, self._source, rows, batch=self._batch)
            for rows in (self._query, self._database)
        )
        result = results.retrieve(
            query.packed_NxW,
            self._source.label_NxC[self._query],
            database.packed_NxW,
            self._source.label_NxC[self._database],
            bits=self._bits,
            precision_at=(),
        )
        return {"map": result.metrics["map"], "accuracy": float(query.is_right_N.mean())}


class _Loop:
    """The steps of one stage."""

    def __init__(
        self,
        config: ConfigDict,
        run: build.Run,
        stage: Stage,
        journal: Journal,
        validator: Validator,
        interruption: Interruption,
        profile: Callable[[int], Any] | None,
    ):
        self._config = config
        self._run = run
        self._stage = stage
        self._journal = journal
        self._validator = validator
        self._interruption = interruption
        self._profile = profile

    def __call__(self, state: TrainState, *, stop_step: int | None) -> tuple[TrainState, int]:
        """Return the state after the stage, or where it was stopped, and the steps done."""
        stage, first = self._stage, int(state.step)
        training = self._config.training
        validate_every = (
            duration(self._config.evaluation, "validate_every", self._run.steps_per_epoch)
            or stage.stop
        )
        progress = writers.progress_reports(self._run.stages[-1].stop)
        pace = Pace(stage.batch)
        unread: list[tuple[int, int, Any]] = []
        compiled: set[int] = set()
        step = first
        advances = self._advances(first, (training.log_every_steps, validate_every), stop_step)
        try:
            for step, count, advance in advances:
                if self._profile is not None:
                    self._profile(step - first)
                state, metrics = advance(state)
                if count in compiled:
                    pace.step(count)
                else:
                    jax.block_until_ready(metrics)
                    what = "step, with its" if count == 1 else f"{count} steps, with their"
                    logging.info("first %s compilation: %.1f s", what, pace.pause())
                    compiled.add(count)
                # Step N is on its way: reading step N−1 now never stalls the devices.
                self._read(unread)
                unread = [(step, count, metrics)]
                progress(step)
                # First: every process must ask at every step.
                stopping = self._interruption.reached(step) or step in (stage.stop, stop_step)
                # What is recorded and validated does not depend on where the run is stopped.
                is_log = step % training.log_every_steps == 0 or step == stage.stop
                is_validation = step % validate_every == 0 or step == stage.stop
                if is_log or is_validation or stopping:
                    self._read(unread)
                    unread = []
                if is_log:
                    self._record(step, pace.scalars())
                if is_validation or stopping:
                    self._save(step, state, validate=is_validation)
                    pace.pause()
                if stopping:
                    break
        finally:
            advances.close()
        return state, step

    def _advances(
        self, first: int, ends: Sequence[int], stop_step: int | None
    ) -> Generator[tuple[int, int, Callable], None, None]:
        """Yield ways to go on: the step that each reaches, in how many steps, and the way.

        Several steps are one program where the data lie on an accelerator; none passes a multiple
        of `ends`, where something is done between steps.
        """
        run, stage = self._run, self._stage
        if not run.is_resident:
            with contextlib.closing(parallel.prefetch(run.batches(stage, first))) as batches:
                for step, batch in enumerate(batches, start=first + 1):
                    yield step, 1, lambda state, batch=batch: stage.step(state, batch)
            return
        assert stage.steps is not None
        arrays, step = run.arrays(stage), first
        together = self._config.training.log_every_steps if parallel.scans_fast() else 1
        while step < stage.stop:
            due = [(step // end + 1) * end for end in ends]
            due += [stop for stop in (stop_step, stage.stop) if stop is not None and stop > step]
            count = together if step + together <= min(due) else 1
            step += count
            steps = stage.steps(count)
            yield step, count, lambda state, steps=steps: steps(state, arrays)

    def _read(self, unread: list[tuple[int, int, Any]]) -> None:
        """Fetch metrics from the devices; raise where one is not finite."""
        for last, count, metrics in unread:
            found = {name: np.reshape(x, count) for name, x in jax.device_get(metrics).items()}
            for i in range(count):
                metrics_i = {name: value[i] for name, value in found.items()}
                self._journal.note(last - count + 1 + i, metrics_i)

    def _record(self, step: int, speed: Mapping[str, float]) -> None:
        """Write the means since the last time, and say them."""
        means = self._journal.record(step, speed)
        terms = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        rate = f"  {speed['images_per_second']:.0f} images/s" if speed else ""
        logging.info("%s %d/%d  %s%s", self._stage.name, step, self._stage.stop, terms, rate)

    def _save(self, step: int, state: TrainState, *, validate: bool) -> None:
        """Save, and validate before where it is due."""
        valid = {}
        if validate and self._stage.name != "autoencoder":  # whose codes mean nothing yet
            valid = self._validator(state)
        if valid:
            logging.info(
                "step %d  validation mAP %.4f  accuracy %.4f", step, valid["map"], valid["accuracy"]
            )
        self._journal.save(step, state, valid)
