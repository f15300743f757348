"""What a run recorded while it trained, line by line, and whether it is finite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath


def read_metrics(path: epath.PathLike) -> list[dict[str, float]]:
    """Return the records of a `metrics.jsonl`, without a last line cut short.

    Args:
      path: of the file; none gives no records.

    Returns:
      A list of dicts, each with `step`.
    """
    path = epath.Path(path)
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break  # the machine stopped in the middle of a line
    return records


def check_finite(step: int, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return a step's metrics as floats.

    Args:
      step: its number.
      metrics: scalars.

    Returns:
      A dict of floats.

    Raises:
      FloatingPointError: naming the step and the terms that are not finite.
    """
    values = {name: float(value) for name, value in metrics.items()}
    bad = {name: value for name, value in values.items() if not np.isfinite(value)}
    if bad:
        # A bad term makes the loss and the gradient bad: name these only where they stand alone.
        terms = [name for name in bad if name not in ("loss", "gradient_norm")] or list(bad)
        raise FloatingPointError(
            f"step {step}: {', '.join(f'{name} is {bad[name]}' for name in terms)}. Lower the "
            "learning rate, lengthen the warm-up, or set optimizer.clip_norm; the last checkpoint "
            "is from before this step."
        )
    return values
