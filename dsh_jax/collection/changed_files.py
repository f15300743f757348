"""Which images of a file of codes were replaced, have vanished or cannot be looked at since."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from dsh_jax.collection import file_state, image_codes
from dsh_jax.collection.file_state import FileState, Finding, Verdict
from dsh_jax.collection.image_codes import ImageCodes
from dsh_jax.pictures import CORES


class Review(NamedTuple):
    """What became of the images that have codes; each name in one at most, the others are the same.

    Attributes:
      changed: names whose files have another content.
      unknown: names of which nothing was kept to tell.
      touched: name to the new state, of files with the same content and another time.
      vanished: name to reason, of images that are not there any more.
      unsure: name to reason, of files that cannot be looked at; their codes are kept.
    """

    changed: tuple[str, ...]
    unknown: tuple[str, ...]
    touched: Mapping[str, FileState]
    vanished: Mapping[str, str]
    unsure: Mapping[str, str]


def review(found: ImageCodes, names: Sequence[str], *, verify: bool = False) -> Review:
    """Compare the images that have codes with their files.

    Args:
      found: codes.
      names: the images that are meant; of the others only whether they are there is looked at.
      verify: read the files whose size and time agree, too.

    Returns:
      Review.
    """
    meant, kept = set(names), dict(zip(found.names, image_codes.states(found), strict=True))
    seen = {name: file_state.by_stat(_path(found, name), state) for name, state in kept.items()}
    is_same = {name: x is not None and x.verdict is Verdict.SAME for name, x in seen.items()}
    read = [name for name in kept if name in meant and (not seen[name] or verify * is_same[name])]

    def by_content(name: str) -> Finding:
        return file_state.by_content(_path(found, name), kept[name])

    with ThreadPoolExecutor(CORES) as pool:
        seen |= zip(read, pool.map(by_content, read), strict=True)
    seen |= _renamed(found.root, kept, meant, seen)

    def those(verdict: Verdict) -> dict[str, Finding]:
        return {name: x for name, x in seen.items() if x is not None and x.verdict is verdict}

    unsure, vanished = those(Verdict.UNSURE), those(Verdict.VANISHED)
    return Review(
        changed=tuple(name for name in those(Verdict.CHANGED) if name in meant),
        unknown=tuple(name for name in those(Verdict.UNKNOWN) if name in meant),
        touched={name: x.state for name, x in those(Verdict.TOUCHED).items()},
        vanished={name: x.why for name, x in vanished.items()},
        unsure={name: x.why for name, x in unsure.items()},
    )


def marks(found: ImageCodes, row_k: Sequence[int], root: str) -> list[str]:
    """Return what a reader of a search should know of images' files, in words; mostly nothing.

    Args:
      found: codes.
      row_k: which of their images.
      root: folder of the images; where it is not there, nothing is known.

    Returns:
      Words for each image: that it has vanished, or changed since it was encoded; or none.
    """
    few = image_codes.take(found, row_k)
    if not os.path.isdir(root):
        return [""] * len(few.names)
    return [
        _mark(file_state.compare(os.path.join(root, name), state))
        for name, state in zip(few.names, image_codes.states(few), strict=True)
    ]


def _mark(found: Finding) -> str:
    if found.verdict is Verdict.VANISHED:
        return f"vanished: {found.why}"
    return "changed since it was encoded" if found.verdict is Verdict.CHANGED else ""


def _path(found: ImageCodes, name: str) -> str:
    return os.path.join(found.root, name)


def _renamed(
    root: str, kept: Iterable[str], meant: set[str], seen: Mapping[str, Finding | None]
) -> dict[str, Finding]:
    """Return names that stand for a file of the list by another case, where case does not count."""
    rest = [name for name in kept if name not in meant]
    folded = {_fold(name): name for name in meant} if rest else {}
    found = {}
    for name in rest:
        other = folded.get(_fold(name))
        is_there = seen[name] is None or seen[name].verdict is not Verdict.VANISHED
        if other and is_there and not _is_listed(root, name):
            found[name] = Finding(Verdict.VANISHED, f"it is {other} now")
    return found


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_listed(root: str, name: str) -> bool:
    """Return whether a path is spelled as the folders list it."""
    folder = os.sep if os.path.isabs(name) else root
    for part in filter(None, name.split("/")):
        try:
            if part not in os.listdir(folder):
                return False
        except OSError:  # it may be entered, but not listed
            return True
        folder = os.path.join(folder, part)
    return True
