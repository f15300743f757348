"""What an evaluated run found, as one picture."""

from __future__ import annotations

import numpy as np
from etils import epath
from PIL import Image

from dsh_jax.runs import gallery
from dsh_jax.runs.evaluated import read_evaluated
from dsh_jax.training import build
from dsh_jax.training.run_folder import read_config


def neighbour_sheet(workdir: epath.PathLike, *, queries: int = 6, count: int = 10) -> Image.Image:
    """Return queries of a run, a row each, with the nearest images that training never saw.

    They are the first query of each label, in the order of labels: nobody chooses them. Where the
    split has no unseen rows, its own database is ranked.

    Args:
      workdir: the run's folder, evaluated.
      queries: rows, at most as many as there are labels.
      count: neighbours of each.

    Returns:
      An RGB image of Pillow, see `gallery.neighbour_sheet`.

    Raises:
      ValueError: where the run was not evaluated.
    """
    folder = epath.Path(workdir).expanduser().resolve()
    run = read_evaluated(folder, folder.name)
    source = build.load_source(read_config(folder))
    label_QxC = run.label["query"]
    chosen = [int(np.argmax(label_Q)) for label_Q in label_QxC.T if label_Q.any()][:queries]
    database = "unseen" if "unseen" in run.packed else next(iter(run.results))
    found = gallery.neighbours(
        source,
        run.rows["query"][chosen],
        run.packed["query"][chosen],
        run.rows[database],
        run.packed[database],
        count=count,
    )
    return gallery.neighbour_sheet(found)
