"""Compiled programs that a later start takes from a folder beside the runs."""

import hashlib
import os
import pathlib

import jax
from absl import flags
from etils import epath

FOLDER = ".compiled"  # in the folder that a run's folder is in
_ASKED = flags.DEFINE_string(
    "compilation_cache",
    None,
    "Folder of compiled programs, empty for none; .compiled beside the run without this flag.",
)


def folder_of(asked: str | None, workdir: epath.PathLike) -> epath.Path | None:
    """Return where the compiled programs of a run are kept.

    Args:
      asked: for this folder, or with an empty word for none; None where nothing was asked for.
      workdir: folder of the run or the export.

    Returns:
      A folder; None for none, where JAX_COMPILATION_CACHE_DIR has named another, or where nothing
      can be written beside the run.
    """
    if asked is None and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        beside = epath.Path(workdir).expanduser().resolve().parent
        is_closed = beside.exists() and not os.access(beside, os.W_OK)  # an export of the system's
        return None if is_closed else beside / FOLDER / processor()
    return epath.Path(asked).expanduser() if asked else None


def processor() -> str:
    """Return a name for this kind of processor: programs for another one may not run on it."""
    text = ""
    path = pathlib.Path("/proc/cpuinfo")
    if path.exists():
        lines = path.read_text().splitlines()
        text = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def keep(workdir: epath.PathLike) -> None:
    """Let JAX keep what it compiles for a run, or an export, where the flag says or beside it.

    Args:
      workdir: folder of the run or the export.
    """
    folder = folder_of(_ASKED.value, workdir)
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
