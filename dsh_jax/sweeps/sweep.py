"""A sweep is data: settings with their values; its points are the overrides of its runs."""

from __future__ import annotations

import ast
import collections
import difflib
import hashlib
import itertools
import math
import numbers
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsh_jax.training.run_folder import OF_SWEEPS

Sweep = Sequence[tuple[str, Sequence[Any]]]
Point = dict[str, Any]

KINDS = ("grid", "zip", "random")
RANGES = ("uniform", "log_uniform", "int")
LONGEST = 200  # bytes of a run's name; file systems take 255, and its log has an ending


def parse_sweep(text: str) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Return the sweep that `key=value,value;key=value,…` means.

    Values are Python's literals where they are any, else text: `model.bits=12,24` has numbers,
    `loss.multilabel=margin,bce` words, `model.convs_per_group=(1,1,1,1,1),(2,2,2,2,2)` tuples.

    Args:
      text: as typed on a command line.

    Returns:
      (dotted key, values) pairs.

    Raises:
      ValueError: where a part has no key or no values, or a key stands twice.
    """
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, values = (side.strip() for side in part.partition("="))
        if not (key and equals and values):
            raise ValueError(
                f"the sweep has {part!r}; pass key=value,value with ; between the settings, such "
                "as model.bits=12,24;seed=0,1."
            )
        pairs.append((key, tuple(_parse_values(values))))
    return tuple(pairs)


def _parse_values(text: str) -> list[Any]:
    """Return the values of a comma list."""
    try:
        return list(ast.literal_eval(f"[{text}]"))
    except (ValueError, SyntaxError):
        return [_parse_value(value.strip()) for value in text.split(",")]


def _parse_value(text: str) -> Any:
    """Return a literal, or the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def is_range(values: Sequence[Any]) -> bool:
    """Return whether values are ("uniform" | "log_uniform" | "int", low, high).

    Args:
      values: of a setting.
    """
    return (
        len(values) == 3
        and values[0] in RANGES
        and all(isinstance(value, numbers.Real) for value in values[1:])
    )


def expand_sweep(
    sweep: Sweep, *, kind: str = "grid", points: int = 0, seed: int = 0
) -> list[Point]:
    """Return the points of a sweep.

    Args:
      sweep: (dotted key, values) pairs.
      kind: "grid", every combination, the last key changing fastest; "zip", the first values
        together, then the second ones; "random", drawn independently from the values or from a
        range ("uniform", low, high), ("log_uniform", low, high), ("int", low, high), high
        included.
      points: how many, of "random".
      seed: of "random"; the first points do not depend on how many there are.

    Returns:
      Dicts of dotted key to value.

    Raises:
      ValueError: for an unknown kind, no values, uneven values of "zip", ranges that are empty or
        not for "random".
    """
    check_sweep(sweep)
    keys = [key for key, _ in sweep]
    if kind == "random":
        if points < 1:
            raise ValueError(f"a random sweep has {points} points; set sweep_points to 1 or more.")
        rng = np.random.default_rng(seed)
        return [{key: _draw(values, rng) for key, values in sweep} for _ in range(points)]
    if kind not in KINDS:
        raise ValueError(f"unknown kind of sweep {kind!r}; known: {', '.join(KINDS)}.")
    if ranged := [key for key, values in sweep if is_range(values)]:
        raise ValueError(f"{ranged[0]} has a range, which is for kind random; list values of it.")
    lengths = {key: len(values) for key, values in sweep}
    if kind == "zip" and len(set(lengths.values())) > 1:
        raise ValueError(f"kind zip pairs values, but there are {lengths}; give as many of each.")
    combine = itertools.product if kind == "grid" else zip
    return [dict(zip(keys, values, strict=True)) for values in combine(*(v for _, v in sweep))]


def check_sweep(sweep: Sweep) -> None:
    """Check the form of a sweep.

    Args:
      sweep: (dotted key, values) pairs.

    Raises:
      ValueError: where it is empty, a key stands twice, or values are none or no tuple, or a range
        is empty.
    """
    if not sweep:
        raise ValueError("there is nothing to sweep; set --sweep or config.sweep.")
    keys = [key for key, _ in sweep]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise ValueError(f"the sweep has {twice[0]} twice; list all of its values in one place.")
    for key, values in sweep:
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ValueError(f"{key} has {values!r}; pass a tuple of one value or more.")
        if is_range(values):
            name, low, high = values
            if not low < high:
                raise ValueError(f"{key} has the range {low} to {high}; the lower end comes first.")
            if name == "log_uniform" and low <= 0:
                raise ValueError(f"{key} is log_uniform from {low}; it must start above 0.")
            if name == "int" and not (isinstance(low, int) and isinstance(high, int)):
                raise ValueError(f"{key} is int from {low} to {high}; pass whole numbers.")


def _draw(values: Sequence[Any], rng: np.random.Generator) -> Any:
    """Return one of the values, or a number of a range."""
    if not is_range(values):
        return values[int(rng.integers(len(values)))]
    name, low, high = values
    if name == "int":
        return int(rng.integers(low, high, endpoint=True))
    if name == "uniform":
        return float(rng.uniform(low, high))
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def check_points(config: Mapping[str, Any], points: Sequence[Point]) -> None:
    """Check that points are settings of a config, of its types, and differ by name.

    Args:
      config: nested settings.
      points: dicts of dotted key to value.

    Raises:
      ValueError: for an unknown key (naming like ones), a value of another type, or two points of
        one name.
    """
    known = {key: value for key, value in _leaves(config).items() if key not in OF_SWEEPS}
    for point in points:
        for key, value in point.items():
            if key not in known:
                raise ValueError(f"the config has no {key!r}{did_you_mean(key, known)}.")
            wanted = type(known[key])
            if not _fits(value, wanted):
                hint = f"; write text as '{value}', in quotes" if wanted is str else ""
                raise ValueError(
                    f"{key} is {value!r}, a {type(value).__name__}; the config has a "
                    f"{wanted.__name__} there, such as {known[key]!r}{hint}."
                )
    times = collections.Counter(map(run_name, points))
    if twice := [name for name, count in times.items() if count > 1]:
        raise ValueError(f"the sweep has two points named {twice[0]}; list each value once.")


def did_you_mean(key: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """Return "; did you mean a or b", or nothing where no known key is like it.

    Args:
      key: that is not known.
      known: dotted keys.
    """
    # `bits` means `model.bits`, and `mode.bits` does, too.
    ends = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    like = list(dict.fromkeys([*ends, *difflib.get_close_matches(key, list(known), cutoff=0.75)]))[
        :3
    ]
    return f"; did you mean {' or '.join(like)}" if like else ""


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Point:
    """Return the settings by their dotted keys."""
    flat = {}
    for key, value in config.items():
        is_inner = isinstance(value, Mapping)
        flat |= _leaves(value, f"{prefix}{key}.") if is_inner else {f"{prefix}{key}": value}
    return flat


def _fits(value: Any, wanted: type) -> bool:
    """Return whether a setting of a type takes a value; one that is None takes numbers."""
    if wanted in (float, type(None)):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is tuple:
        return isinstance(value, tuple | list)
    return type(value) is wanted


def run_name(point: Mapping[str, Any]) -> str:
    """Return the name of a run: its overrides, such as `model.bits=12,seed=0`.

    Safe as the name of a file: other characters than letters, digits and `._-~` are written as
    `%2F`, items of a tuple joined by `+`. Longer than 200 bytes, it is cut, and a hash tells it
    from others.

    Args:
      point: dotted key to value.

    Returns:
      The name; one for each point.
    """
    name = ",".join(f"{quote(key)}={value_name(value)}" for key, value in point.items())
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 17]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def value_name(value: Any) -> str:
    """Return a value as it stands in the name of a run.

    Args:
      value: number, text, or a tuple of them.
    """
    if isinstance(value, tuple | list):
        return "+".join(value_name(item) for item in value)
    return quote(str(value))


def quote(text: str) -> str:
    """Return text with every character that a path or a shell could misread as `%` and its code."""
    return urllib.parse.quote(text, safe="")
