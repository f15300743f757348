"""Encode any images with a trained run, or export the run.

python -m experiments.encode --workdir=runs/pets --images=/data/photos --out=codes.npz
python -m experiments.encode --workdir=runs/pets --export=exports/pets
python -m experiments.encode --model=exports/pets --images=list.txt --out=codes.npz
python -m experiments.encode --workdir=runs/pets --images=/data/photos --out=codes.npz \
  --annotate=annotated
python -m experiments.encode --read_annotations=annotated --out=codes.npz

--images is a folder, searched with all folders in it in sorted order, or a text list of paths, one
a line. Files that cannot be read are named, counted and kept in the output with the reason. Repeat
the command to go on after a stop, or to add images that are new. `dsh_jax.image_codes.load` reads
the output, experiments.search searches it.

--annotate writes copies of the images that carry code, bits and model as XMP (JPEG, PNG, WebP);
--read_annotations makes the file of codes from such images, without running a model.
"""

import warnings
from collections.abc import Mapping

from absl import app, flags
from etils import epath
from PIL import Image

from experiments import console  # first: it quiets TensorFlow before its import

from dsh_jax import annotated, encode_files, exported, image_codes, image_names  # isort: skip
from dsh_jax.image_encoder import BATCH  # isort: skip
from dsh_jax.image_names import printable  # isort: skip

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.")
_MODEL = flags.DEFINE_string("model", None, "Folder of an export, in place of a run.")
_EXPORT = flags.DEFINE_string("export", None, "Folder to export the run to.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of images, or a list of them.")
_OUT = flags.DEFINE_string("out", None, "File of the codes to write, .npz.")
_BATCH = flags.DEFINE_integer("batch", BATCH, "Images at a time.", lower_bound=1)
_STRICT = flags.DEFINE_bool("strict", False, "Stop at the first file that cannot be read.")
_ALLOW_OUTSIDE = flags.DEFINE_bool(
    "allow_outside", False, "Take absolute paths outside of the list's folder."
)
_ANNOTATE = flags.DEFINE_string("annotate", None, "Folder for copies that carry their codes.")
_READ = flags.DEFINE_string(
    "read_annotations", None, "Folder of annotated images, in place of encoding."
)
_FINGERPRINT = flags.DEFINE_string("fingerprint", None, "Of the model wanted, for that.")
SHOWN = 20  # failures that are printed

flags.mark_flags_as_mutual_exclusive(["workdir", "model", "read_annotations"], required=True)


def check_flags() -> None:
    """Refuse flags that do not go together."""
    if _READ.value:
        if not _OUT.value or _IMAGES.value or _ANNOTATE.value:
            raise ValueError("--read_annotations goes with --out, and without --images")
        return
    if _ANNOTATE.value and not _IMAGES.value:
        raise ValueError("--annotate makes copies of images: pass --images and --out")
    if _EXPORT.value and not _WORKDIR.value:
        raise ValueError("--export writes what a run has trained: pass --workdir")
    if bool(_IMAGES.value) != bool(_OUT.value):
        raise ValueError("--images and --out go together: pass both, or none of them")
    if not (_EXPORT.value or _IMAGES.value):
        raise ValueError("there is nothing to do: pass --images and --out, or --export")


def list_images(path: epath.Path) -> tuple[epath.Path, list[str]]:
    """Return the folder and the names of the images that are meant; say what is left alone."""
    if path.is_dir():
        names, others = image_names.of_folder(path)
        if others:
            print(
                f"{len(others):,} files have no ending of an image and are left alone, such as "
                f"{printable(others[0])}; a list takes any."
            )
        return path, names
    if not path.is_file():
        raise ValueError(f"--images={path} is not there: pass a folder of images, or a list")
    return path.parent, image_names.of_list(path, allow_outside=_ALLOW_OUTSIDE.value)


def said_of(codes: image_codes.ImageCodes) -> str:
    """Return what a file of codes holds, in words."""
    return f"{len(codes.names):,} codes of {codes.bits} bits, model {codes.fingerprint}"


def show(what: str, reasons: Mapping[str, str]) -> None:
    """Print what happened to which images, the first of them."""
    for name in list(reasons)[:SHOWN]:
        print(f"{what}: {printable(name)}: {reasons[name]}")
    if len(reasons) > SHOWN:
        print(f"{what}: and {len(reasons) - SHOWN:,} more")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    warnings.simplefilter("error", Image.DecompressionBombWarning)  # it becomes a reason
    with console.clear_errors():
        check_flags()
        if _READ.value:
            index, notes = annotated.index_of(_READ.value, fingerprint=_FINGERPRINT.value)
            image_codes.save(_OUT.value, index)
            print("\n".join([*notes, f"{_OUT.value}: {said_of(index)}"]))
            return 0
        if _EXPORT.value:
            run = exported.open_run(_WORKDIR.value)
            print(f"export: {exported.export_run(*run, _WORKDIR.value, _EXPORT.value)}")
        if not _IMAGES.value:
            return 0
        root, names = list_images(epath.Path(_IMAGES.value).expanduser())
        encoder = exported.open_encoder(workdir=_WORKDIR.value, model=_MODEL.value)
        codes, done, seconds = encode_files.encode_files(
            encoder, root, names, _OUT.value, batch=_BATCH.value, strict=_STRICT.value
        )
        uncarried = annotated.annotate_files(codes, _ANNOTATE.value) if _ANNOTATE.value else {}
    failures = {name: codes.failures[name] for name in names if name in codes.failures}
    show("no code", failures)
    show("no annotated copy", uncarried)
    if _ANNOTATE.value:
        print(f"{_ANNOTATE.value}: {len(codes.names) - len(uncarried):,} annotated copies")
    speed = f"{done:,} images read in {seconds:,.1f} s ({done / seconds:,.0f} images/s)"
    print(f"{_OUT.value}: {said_of(codes)}; {speed}, {len(failures):,} failed")
    return 0 if codes.names else 1


if __name__ == "__main__":
    console.run(main)
