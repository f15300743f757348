"""Draw what a run found as one picture: queries, a row each, and their nearest images.

python -m experiments.gallery --workdir=runs/digits --out=docs/gallery.png

A tick marks an image that shares a label with its query; the number is the distance in bits. The
queries are the first of each label, the images are those that training never saw. The codes are
those of the run's last evaluation: no network is run.
"""

from absl import app, flags
from etils import epath

from dsh_jax.runs import sheet
from experiments import console

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of an evaluated run.", required=True)
_OUT = flags.DEFINE_string("out", None, "File of the picture to write, .png.", required=True)
_QUERIES = flags.DEFINE_integer("queries", 6, "Rows.", lower_bound=1)
_K = flags.DEFINE_integer("k", 10, "Images of each.", lower_bound=1)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    with console.clear_errors():
        picture = sheet.neighbour_sheet(_WORKDIR.value, queries=_QUERIES.value, count=_K.value)
        out = epath.Path(_OUT.value).expanduser()
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("wb") as file:
            # Few colours, and so few bytes in a repository.
            picture.quantize(64).save(file, "PNG", optimize=True)
    print(f"{out}: {picture.width}×{picture.height} pixels")


if __name__ == "__main__":
    console.run(main)
