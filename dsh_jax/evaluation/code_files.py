"""Files of codes that people already hold: ours, numpy's, MATLAB's, those of other programs."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse
from etils import epath

from dsh_jax.evaluation import code_set

ROLES = ("query_code", "query_label", "database_code", "database_label")
FOLDER_NAMES = {  # program to the ends of its file names, in the order of ROLES
    "HashNet": ("test_code", "test_labels", "database_code", "database_labels"),
    "DeepHash-pytorch": ("tst_binary", "tst_label", "trn_binary", "trn_label"),
}
MAT_NAMES = (  # in the order of ROLES
    ("query_code", "B_query", "query_B", "val_B", "qB", "B_tst", "tst_binary"),
    ("query_label", "L_query", "query_L", "L_te", "qL", "L_tst", "tst_label"),
    ("database_code", "B_database", "retrieval_B", "rB", "B_trn", "trn_binary"),
    ("database_label", "L_database", "retrieval_L", "L_db", "rL", "L_trn", "trn_label"),
)


def load(
    path: epath.PathLike,
    *,
    database: str = "train",
    bits: int | None = None,
    allow_overlap: bool = False,
) -> code_set.CodeSet:
    """Read the codes and labels of queries and of a database.

    Args:
      path: an .npz file (`evaluate_run`'s, or one with the arrays `query_code`, `query_label`,
        `database_code`, `database_label`), a .mat file, or a folder with the four .npy files of
        HashNet or DeepHash-pytorch; folder/prefix where it holds several sets.
      database: which database of an .npz file; the default also takes one called `database`.
      bits: K, for packed bytes that do not fill their last byte in files that do not say it.
      allow_overlap: take queries that by their row numbers are in the database.

    Returns:
      CodeSet; its notes say what was read and what the values were taken for.

    Raises:
      ValueError: where files or arrays are missing, unreadable or ambiguous, or where
        `code_set.from_arrays` refuses the arrays.
    """
    path = epath.Path(path).expanduser()
    if path.suffix == ".npz":
        arrays, notes = _read_npz(path, database)
    elif database != "train":
        raise ValueError(f"database={database!r} chooses within an .npz file; leave it out")
    else:
        arrays, notes = _read_mat(path) if path.suffix == ".mat" else _read_folder(path)
    if "bits" in arrays:
        held = int(np.asarray(arrays["bits"]).item())
        if bits not in (None, held):
            raise ValueError(f"bits={bits}, but {path} says bits={held}; leave bits out")
        arrays["bits"] = held
    options: dict[str, Any] = {"bits": bits} | arrays
    found = code_set.from_arrays(**options, allow_overlap=allow_overlap)
    return dataclasses.replace(found, notes=(*notes, *found.notes))


def _parse(path: epath.Path, parse: Callable, advice: str) -> Any:
    """Return what a parser makes of a file, every failure being a ValueError."""
    try:
        with path.open("rb") as file:
            return parse(file)
    except Exception as error:  # parsers raise all sorts on a damaged file
        raise ValueError(f"{path} cannot be read ({error}); {advice}") from error


def _read_npz(path, database):
    arrays = _parse(
        path,
        lambda file: dict(np.load(file).items()),
        "check the path, or write plain numbers with numpy.savez",
    )
    if database == "train" and "train_code" not in arrays:
        database = "database"
    names = [role.replace("database", database) for role in ROLES]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; it holds {_listed(arrays)}; "
            "add what is missing, or choose another database"
        )
    found = {role: arrays[name] for role, name in zip(ROLES, names, strict=True)}
    optional = {"bits": "bits", "query_row": "query_row", "database_row": f"{database}_row"}
    found |= {role: arrays[name] for role, name in optional.items() if name in arrays}
    return found, [f"{path.name}: query_code against {database}_code."]


def _read_mat(path):
    variables = _parse(
        path,
        functools.partial(scipy.io.loadmat, spmatrix=False),
        "check the path, or save it in MATLAB with the option -v7",
    )
    variables = {name: x for name, x in variables.items() if not name.startswith("__")}
    taken = []
    for role, names in zip(ROLES, MAT_NAMES, strict=True):
        present = [name for name in names if name in variables]
        if len(present) != 1:
            raise ValueError(
                f"{path} has {_listed(present)} for the {role.replace('_', ' ')}s; "
                f"it holds {_listed(variables)}; wanted exactly one of {', '.join(names)}"
            )
        taken += present
    arrays = [variables[name] for name in taken]
    arrays = [x.toarray() if scipy.sparse.issparse(x) else x for x in arrays]
    arrays, turned = _rows_first(arrays)
    found = dict(zip(ROLES, arrays, strict=True))
    if "bits" in variables:
        found["bits"] = variables["bits"]
    query, query_label, base, base_label = taken
    note = f"{path.name}: {query} ({query_label}) against {base} ({base_label})."
    return found, [note, *turned]


def _rows_first(arrays):
    """Transpose codes or labels where only that gives both parts as many labels as codes."""
    query, query_label, base, base_label = arrays
    for turned in ([], ["labels"], ["codes"], ["codes", "labels"]):
        row, label_row = (int(name in turned) for name in ("codes", "labels"))
        pairs = (query, query_label), (base, base_label)
        fits = all(code.shape[row] == label.shape[label_row] for code, label in pairs)
        same_bits = query.shape[1 - row] == base.shape[1 - row]
        same_classes = query_label.shape[1 - label_row] == base_label.shape[1 - label_row]
        if fits and same_bits and same_classes:
            flips = (row, label_row) * 2
            arrays = [x.T if flip else x for x, flip in zip(arrays, flips, strict=True)]
            return arrays, [f"The {name} have a column per image: transposed." for name in turned]
    return arrays, []


def _read_folder(path):
    folder, prefix = (path, None) if path.is_dir() else (path.parent, path.name)
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    sets = {}
    for program, ends in FOLDER_NAMES.items():
        for name in names:
            match = re.fullmatch(rf"(.*)({'|'.join(ends)})\.npy", name)
            if match and prefix in (None, match[1], match[1].rstrip("-_")):
                sets.setdefault((program, match[1]), []).append(match[2])
    sets = {key: ends for key, ends in sets.items() if len(ends) == len(ROLES)} or sets
    if not sets:
        wanted = " or ".join(f"*{', *'.join(ends)} (.npy)" for ends in FOLDER_NAMES.values())
        raise ValueError(
            f"{path} is no codes that we know: {folder} holds {_listed(names)}; "
            f"wanted an .npz file, a .mat file, or a folder with {wanted}"
        )
    if len(sets) > 1:
        known = ", ".join(f"{start or 'none'} ({program})" for program, start in sets)
        raise ValueError(
            f"{folder} holds several sets of codes, with the prefixes {known}; "
            f"pass one as {folder}/PREFIX, or keep each in a folder of its own"
        )
    ((program, start), present) = next(iter(sets.items()))
    ends = FOLDER_NAMES[program]
    missing = [f"{start}{end}.npy" for end in ends if end not in present]
    if missing:
        raise ValueError(
            f"{folder} lacks {', '.join(missing)} of {program}'s four files; put them there"
        )
    found = {
        role: _parse(
            folder / f"{start}{end}.npy",
            np.lib.format.read_array,
            "write plain numbers with numpy.save",
        )
        for role, end in zip(ROLES, ends, strict=True)
    }
    return found, [f"Files of {program}: {start}{ends[0]} against {start}{ends[2]}."]


def _listed(names):
    return ", ".join(sorted(names)) or "nothing"
