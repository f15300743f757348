"""The only file that knows Orbax: the latest two states and the best one are kept."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

METRIC = "validation_map"


class Checkpoints:
    """Saved states under `workdir/checkpoints`, by step.

    Args:
      workdir: the run's folder.
    """

    def __init__(self, workdir: epath.PathLike):
        # Orbax needs an absolute path, and says so only from its asynchronous save.
        self._directory = epath.Path(workdir).expanduser().resolve() / "checkpoints"

        def metric(metrics: dict[str, float]) -> float:
            return metrics[METRIC]

        # Without best_fn Orbax writes no metrics, and best_step() is silently the latest.
        self._manager = ocp.CheckpointManager(
            self._directory,
            # Named now, so that a manager that has not saved yet can read what is there.
            item_handlers=ocp.StandardCheckpointHandler(),
            options=ocp.CheckpointManagerOptions(
                best_fn=metric,
                preservation_policy=preservation.AnyPreservationPolicy(
                    [preservation.LatestN(2), preservation.BestN(get_metric_fn=metric, n=1)]
                ),
            ),
        )

    def save(self, step: int, state: Any, *, validation_map: float) -> None:
        """Save a state in the background.

        Args:
          step: training steps done.
          state: a tree of arrays.
          validation_map: by which the best is chosen.
        """
        host = jax.device_get(state)
        self._manager.save(
            step, args=ocp.args.StandardSave(host), metrics={METRIC: float(validation_map)}
        )

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
        """
        target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
        saved = self._manager.item_metadata(step)
        _compare(saved, target, f"{self._directory}/{step}")
        return self._manager.restore(step, args=ocp.args.StandardRestore(target))

    def wait(self) -> None:
        """Return when every save is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish the saves and let go of the folder."""
        self._manager.close()


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
