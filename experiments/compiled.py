"""Compiled programs that a later start takes from a folder beside the runs."""

import hashlib
import os
import pathlib

import jax
from etils import epath

FOLDER = ".compiled"  # in the folder that a run's folder is in


def folder_of(asked: str | None, workdir: epath.PathLike) -> epath.Path | None:
    """Return where the compiled programs of a run are kept.

    Args:
      asked: for this folder, or with an empty word for none; None where nothing was asked for.
      workdir: folder of the run.

    Returns:
      A folder; None for none, or where JAX_COMPILATION_CACHE_DIR has named another.
    """
    if asked is None and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return epath.Path(workdir).expanduser().resolve().parent / FOLDER / processor()
    return epath.Path(asked).expanduser() if asked else None


def processor() -> str:
    """Return a name for this kind of processor: programs for another one may not run on it."""
    text = ""
    path = pathlib.Path("/proc/cpuinfo")
    if path.exists():
        lines = path.read_text().splitlines()
        text = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def keep(asked: str | None, workdir: epath.PathLike) -> None:
    """Let JAX keep what it compiles for a run.

    Args:
      asked, workdir: see `folder_of`.
    """
    folder = folder_of(asked, workdir)
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
