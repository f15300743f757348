"""What type checkers are told: arrays of either kind, and a jit that keeps signatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import jax
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray

if TYPE_CHECKING:
    Function = TypeVar("Function", bound=Callable[..., Any])

    def jit(function: Function) -> Function: ...
else:
    jit = jax.jit
