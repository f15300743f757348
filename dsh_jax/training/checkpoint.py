"""The only file that knows Orbax: the latest two states, the best one and chosen ones are kept.

Each state is saved with its digest. One that cannot be read, or whose bits have changed, is put
aside into `workdir/damaged`, with a warning, and the next one serves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

from dsh_jax import parallel

METRIC = "validation_map"
# Orbax numbers the saves of a process in one place: two that begin at once would mix up their
# folders, and one of them be lost.
_beginning = threading.Lock()


class Saved(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      step: training steps done.
      state: a tree of numpy arrays.
      extra: what else was saved, as JSON has it.
    """

    step: int
    state: Any
    extra: Mapping[str, Any]


class DamagedError(Exception):
    """A checkpoint cannot be read, or holds other bits than were saved."""


class Checkpoints:
    """Saved states under `workdir/checkpoints`, by step.

    Args:
      workdir: the run's folder.
      kept: steps whose states are kept beside the latest and the best.
    """

    def __init__(self, workdir: epath.PathLike, *, kept: Iterable[int] = ()):
        # Orbax needs an absolute path, and says so only from its asynchronous save.
        self._directory = epath.Path(workdir).expanduser().resolve() / "checkpoints"
        for path in sorted(self._directory.glob("*")) if self._directory.exists() else ():
            # Orbax reads these of every checkpoint at once, and fails where one is damaged.
            if path.name.isdigit() and not _is_json(path / "metrics" / "metrics"):
                self._put_aside(path, "its metrics cannot be read")

        def metric(metrics: dict[str, float]) -> float:
            return metrics[METRIC]

        # Hashing a state takes as long as many steps: not in the thread that trains.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._saving: Future | None = None
        # Without best_fn Orbax writes no metrics, and best_step() is silently the latest.
        self._all = ocp.CheckpointManager(
            self._directory,
            # Named now, so that a manager that has not saved yet can read what is there.
            item_handlers=ocp.StandardCheckpointHandler(),
            options=ocp.CheckpointManagerOptions(
                best_fn=metric,
                preservation_policy=preservation.AnyPreservationPolicy(
                    [
                        preservation.LatestN(2),
                        preservation.BestN(get_metric_fn=metric, n=1),
                        preservation.CustomSteps(tuple(kept)),
                    ]
                ),
            ),
        )

    def save(
        self,
        step: int,
        state: Any,
        *,
        validation_map: float,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Save a state in the background.

        Args:
          step: training steps done.
          state: a tree of arrays.
          validation_map: by which the best is chosen.
          extra: what else to save, as JSON has it.

        Raises:
          OSError: where this state or the one before cannot be written.
        """
        host = jax.device_get(state)  # now: the next step takes the state's memory

        def write() -> None:
            custom = {"digest": digest(host), "extra": dict(extra or {})}
            with _beginning:
                self._all.save(
                    step,
                    args=ocp.args.StandardSave(host),
                    metrics={METRIC: float(validation_map)},
                    custom_metadata=custom,
                )

        with self._clear_errors():
            self._settle()
            self._saving = self._pool.submit(write)
            if parallel.process_count() > 1:  # they meet in it: no step may come between
                self._settle()

    @property
    def _manager(self) -> ocp.CheckpointManager:
        """Orbax's, to which the last state was handed over."""
        self._settle()
        return self._all

    def _settle(self) -> None:
        """Wait until the last state is Orbax's; raise what stopped it."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def latest_step(self) -> int | None:
        """Return the newest saved step, or None."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Return the saved step with the highest validation mAP, or None."""
        return self._manager.best_step()

    def restore(self, step: int, like: Any) -> Any:
        """Return the state saved at `step`.

        Args:
          step: a saved step.
          like: a tree of the same shapes and types, arrays or `jax.ShapeDtypeStruct`s.

        Returns:
          The state as numpy arrays.

        Raises:
          ValueError: where the saved arrays have other names or shapes than `like`.
          DamagedError: where they cannot be read or are not those that were saved.
        """
        return self._read(step, like).state

    def restore_latest(self, like: Callable[[int], Any]) -> Saved | None:
        """Return the newest state that is whole; damaged ones are put aside.

        Args:
          like: of a step, see `restore`.

        Returns:
          Saved, or None where there is none.

        Raises:
          ValueError: where the saved arrays have other names or shapes.
        """
        return self._first(sorted(self._manager.all_steps(), reverse=True), like)

    def restore_best(self, like: Callable[[int], Any]) -> Saved | None:
        """Return the state with the highest validation mAP that is whole, see `restore_latest`."""
        steps = sorted(self._manager.all_steps(), reverse=True)
        return self._first(sorted(steps, key=self._validation_map, reverse=True), like)

    def restore_at(self, step: int, like: Callable[[int], Any]) -> Saved | None:
        """Return the state of a step, or None where it is not there or damaged."""
        return self._first([step] if step in self._manager.all_steps() else [], like)

    def _validation_map(self, step: int) -> float:
        return self._manager.metrics(step)[METRIC]

    def _first(self, steps: Iterable[int], like: Callable[[int], Any]) -> Saved | None:
        """Return the first of the steps that is whole."""
        for step in steps:
            try:
                return self._read(step, like(step))
            except DamagedError as error:
                self._put_aside(self._directory / str(step), str(error))
                self._manager.reload()
        return None

    def _read(self, step: int, like: Any) -> Saved:
        """Return the state saved at a step, its bits checked."""
        target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
        try:
            saved = self._manager.item_metadata(step)
            custom = self._manager.metadata(step).custom_metadata
            if saved is None or "digest" not in custom:
                raise DamagedError("it lacks its description")
        except DamagedError:
            raise
        except Exception as error:  # a damaged file may raise anything
            raise DamagedError(f"its description cannot be read: {error}") from error
        _compare(saved, target, f"{self._directory}/{step}")
        try:
            state = self._manager.restore(step, args=ocp.args.StandardRestore(target))
        except Exception as error:  # a damaged file may raise anything
            raise DamagedError(f"its arrays cannot be read: {error}") from error
        if digest(state) != custom["digest"]:
            raise DamagedError("its arrays are not those that were saved")
        return Saved(step, state, custom["extra"])

    def _put_aside(self, path: epath.Path, reason: str) -> None:
        """Move a damaged checkpoint out of the way, so that its step can be saved again."""
        parallel.wait_for_all(f"damaged {path}")  # all have seen it
        if parallel.process_index() == 0:
            folder = self._directory.parent / "damaged"
            folder.mkdir(exist_ok=True)
            number = sum(1 for _ in folder.iterdir())
            there = folder / f"{path.name}-{number}"
            path.rename(there)
            text = " ".join(reason.split())[:300]
            logging.warning("the checkpoint %s is damaged (%s): moved to %s", path, text, there)
        parallel.wait_for_all(f"moved {path}")

    def wait(self) -> None:
        """Return when every save is on disk."""
        with self._clear_errors():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish the saves and let go of the folder."""
        with self._clear_errors(), self._pool:
            try:
                self._settle()
            finally:
                self._all.close()

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Say which folder cannot be written, whatever Orbax raises from its threads."""
        try:
            yield
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise OSError(
                f"{self._directory} cannot be written ({text}). Free space or mend the disk, then "
                "repeat the command: it goes on from the last checkpoint that is whole."
            ) from error


def digest(tree: Any) -> str:
    """Return the SHA-256 of every array of a tree, with its name, type and shape.

    Args:
      tree: of arrays.

    Returns:
      64 hex digits.
    """
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _is_json(path: epath.Path) -> bool:
    """Return whether a file holds JSON."""
    try:
        json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return True


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Return each leaf's shape by a path that does not tell dicts from dataclasses."""

    def name(path) -> str:
        return ".".join(
            str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part))))
            for part in path
        )

    return {
        name(path): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if hasattr(leaf, "shape")
    }


def _compare(saved: Any, wanted: Any, where: str) -> None:
    """Raise a ValueError that names the first arrays in which two trees differ."""
    found, expected = _shapes(saved), _shapes(wanted)
    different = [
        f"{name}: saved {found.get(name, 'absent')}, wanted {expected.get(name, 'absent')}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if different:
        raise ValueError(
            f"the checkpoint {where} is of another architecture or optimizer: "
            f"{len(different)} arrays differ, e.g. {'; '.join(different[:3])}. Use the config that "
            "it was trained with, or another workdir."
        )


def best(folder: epath.Path, like: Callable[[int], Any]) -> Saved:
    """Return the state of a run with the highest validation mAP that is whole.

    Args:
      folder: of the run.
      like: of a step, see `Checkpoints.restore`.

    Returns:
      Saved.

    Raises:
      ValueError: where there is none, or the saved arrays have other names or shapes.
    """
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        saved = checkpoints.restore_best(like)
    if saved is None:
        raise ValueError(f"{folder} holds no checkpoint: train there first.")
    return saved


def at(folder: epath.Path, step: int, like: Callable[[int], Any]) -> Saved | None:
    """Return the state of a run after a step, or None where it was not kept.

    Args:
      folder: of the run.
      step: training steps done.
      like: of a step, see `Checkpoints.restore`.

    Returns:
      Saved or None.

    Raises:
      ValueError: where the saved arrays have other names or shapes.
    """
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        return checkpoints.restore_at(step, like)
