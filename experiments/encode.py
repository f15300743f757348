"""Encode any images with a trained run, or export the run.

python -m experiments.encode --workdir=runs/pets --images=/data/photos --out=codes.npz
python -m experiments.encode --pretrained=efficientnet_lite2 --bits=64 --images=/data/photos \
  --out=codes.npz
python -m experiments.encode --workdir=runs/pets --export=exports/pets
python -m experiments.encode --model=exports/pets --images=list.txt --out=codes.npz
python -m experiments.encode --workdir=runs/pets --images=/data/photos --out=codes.npz \
  --annotate=annotated
python -m experiments.encode --workdir=runs/pets --images=/data/photos --out=codes.npz \
  --parquet=codes.parquet
python -m experiments.encode --read_annotations=annotated --out=codes.npz

--pretrained needs neither labels nor training: features of a network that knows ImageNet, rotated
into bits (ITQ) that are fitted to 2,000 of the images. The encoder is kept in a folder beside the
codes, codes.model for codes.npz, which the same command goes on with and experiments.search takes
as --model.

--images is a folder, searched with all folders in it in sorted order, or a text list of paths, one
a line. Files that cannot be read are named, counted and kept in the output with the reason. Repeat
the command to go on after a stop, or to bring the output in step with the images: new ones are
added, those that were replaced under their names are encoded again. Size and time of a file tell,
and a hash of its content where the time is another; --verify compares the hash of every file.
Images that are not there any more are named and keep their codes, which experiments.search marks;
--prune drops them, but never all of them. `dsh_jax.collection.image_codes.load` reads the output.

--parquet writes the codes once more, as rows of number, name and code: for tables, and for what
takes many rows at once from a file, such as an import of Milvus (docs/indexes.md). --npy writes
them for numpy and PyTorch, with a .txt of the names (docs/exports.md).

--annotate writes copies of the images that carry code, bits and model as XMP (JPEG, PNG, WebP).
Only a picture that is the one that was encoded is copied. Copies are replaced when the image or its
code is another; none is ever removed. --read_annotations makes the file of codes from such images,
without running a model; it names and skips the damaged ones and those of another model than most,
where --strict stops.

Exit status: 0, also where images cannot be read or have vanished; 1 for an error, or no code at
all; 23, as rsync's for a partial transfer, where --annotate has left out pictures that are not the
ones that were encoded, or that cannot be read now.
"""

import json
import warnings
from collections.abc import Mapping

from absl import app, flags
from etils import epath
from PIL import Image

from dsh_jax.collection import encode_files, file_names, image_codes
from dsh_jax.collection.annotation import annotated, stored_codes
from dsh_jax.collection.changed_files import Review
from dsh_jax.collection.encoder import BATCH, ImageEncoder
from dsh_jax.collection.file_names import printable
from dsh_jax.index import npy_rows
from dsh_jax.network.backbones import BACKBONES
from dsh_jax.runs import exported, untrained
from experiments import compiled, console

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.")
_MODEL = flags.DEFINE_string("model", None, "Folder of an export, in place of a run.")
_PRETRAINED = flags.DEFINE_enum("pretrained", None, [*BACKBONES], "Network, in place of a run.")
_BITS = flags.DEFINE_integer("bits", 64, "Of the codes, with --pretrained.", lower_bound=1)
_SIDE = flags.DEFINE_integer(
    "side", untrained.SIDE, "Pixels to which images are brought, with --pretrained.", lower_bound=32
)
_WEIGHTS = flags.DEFINE_string(
    "weights", None, "File of the network's weights, in place of its package's."
)
_EXPORT = flags.DEFINE_string("export", None, "Folder to export the run to.")
_VIEWS = flags.DEFINE_integer(
    "views", None, "Views of an image whose logits are averaged, in place of the run's own."
)
_IMAGES = flags.DEFINE_string("images", None, "Folder of images, or a list of them.")
_OUT = flags.DEFINE_string("out", None, "File of the codes to write, .npz.")
_BATCH = flags.DEFINE_integer("batch", BATCH, "Images at a time.", lower_bound=1)
_STRICT = flags.DEFINE_bool("strict", False, "Stop at the first file that cannot be read.")
_VERIFY = flags.DEFINE_bool(
    "verify", False, "Compare the content of files whose size and time are the same, too."
)
_PRUNE = flags.DEFINE_bool("prune", False, "Drop the codes of images that are not there any more.")
_ALLOW_OUTSIDE = flags.DEFINE_bool(
    "allow_outside", False, "Take absolute paths outside of the list's folder."
)
_ANNOTATE = flags.DEFINE_string("annotate", None, "Folder for copies that carry their codes.")
_PARQUET = flags.DEFINE_string("parquet", None, "File for the same codes as rows of a table.")
_NPY = flags.DEFINE_string("npy", None, "File for the same codes as a plain array.")
_READ = flags.DEFINE_string(
    "read_annotations", None, "Folder of annotated images, in place of encoding."
)
_FINGERPRINT = flags.DEFINE_string("fingerprint", None, "Of the model wanted, for that.")
SHOWN = 20  # images that are named, of each kind
PARTIAL = 23  # exit status of rsync for a partial transfer

flags.mark_flags_as_mutual_exclusive(
    ["workdir", "model", "pretrained", "read_annotations"], required=True
)


def check_flags() -> None:
    """Refuse flags that do not go together."""
    if (_PARQUET.value or _NPY.value) and not _OUT.value:
        raise ValueError("--parquet and --npy hold the codes of --out: pass --out as well")
    if _READ.value:
        if not _OUT.value or _IMAGES.value or _ANNOTATE.value or _VERIFY.value or _PRUNE.value:
            raise ValueError(
                "--read_annotations goes with --out, and without --images, --annotate, --verify "
                "and --prune"
            )
        return
    if _ANNOTATE.value and not _IMAGES.value:
        raise ValueError("--annotate makes copies of images: pass --images and --out")
    if (_VERIFY.value or _PRUNE.value) and not _IMAGES.value:
        raise ValueError("--verify and --prune compare images with their codes: pass --images")
    if _VIEWS.value is not None and not _WORKDIR.value:
        raise ValueError(
            "--views is of a run; what an export takes is written in it: pass --workdir"
        )
    if _EXPORT.value and not _WORKDIR.value:
        raise ValueError("--export writes what a run has trained: pass --workdir")
    if bool(_IMAGES.value) != bool(_OUT.value):
        raise ValueError("--images and --out go together: pass both, or none of them")
    if not (_EXPORT.value or _IMAGES.value):
        raise ValueError("there is nothing to do: pass --images and --out, or --export")


def list_images(path: epath.Path) -> tuple[epath.Path, list[str]]:
    """Return the folder and the names of the images that are meant; say what is left alone."""
    if path.is_dir():
        names, others = file_names.of_folder(path)
        if others:
            print(
                f"{len(others):,} files have no ending of an image and are left alone, such as "
                f"{printable(others[0])}; a list takes any."
            )
        return path, names
    if not path.is_file():
        raise ValueError(f"--images={path} is not there: pass a folder of images, or a list")
    return path.parent, file_names.of_list(path, allow_outside=_ALLOW_OUTSIDE.value)


def pretrained_encoder(root: epath.Path, names: list[str]) -> ImageEncoder:
    """Return the encoder beside the codes; fit it and keep it there if there is none."""
    folder = epath.Path(_OUT.value).expanduser().with_suffix(".model")
    wanted = {"bits": _BITS.value, "encoder": _PRETRAINED.value, "side": _SIDE.value}
    if not folder.exists():
        options = {"network": _PRETRAINED.value, "weights": _WEIGHTS.value}
        encoder = untrained.fit_encoder(root, names, bits=_BITS.value, side=_SIDE.value, **options)
        exported.write(encoder, untrained.settings_of(encoder, **options), folder)
        print(f"model: {folder}")
    encoder = exported.load(folder)
    held = json.loads((folder / "config.json").read_text())["model"]
    if held != wanted:
        raise ValueError(
            f"{folder} is of {held}, not of {wanted}: choose another --out, or remove the folder."
        )
    return encoder


def said_of(codes: image_codes.ImageCodes) -> str:
    """Return what a file of codes holds, in words."""
    return f"{len(codes.names):,} codes of {codes.bits} bits, model {codes.fingerprint}"


def show(what: str, reasons: Mapping[str, str]) -> None:
    """Print what happened to which images, the first of them."""
    for name in list(reasons)[:SHOWN]:
        print(f"{what}: {printable(name)}: {reasons[name]}")
    if len(reasons) > SHOWN:
        print(f"{what}: and {len(reasons) - SHOWN:,} more")


def show_review(review: Review, failures: Mapping[str, str], out: str) -> None:
    """Print what became of the images that had codes; some of them may now be failures."""
    if review.unknown:
        print(
            f"{out} does not say of {len(review.unknown):,} images from which files they were "
            "encoded, as it was written before this was kept: they are encoded again"
        )
    changed = [name for name in review.changed if name not in failures]
    show("changed", dict.fromkeys(changed, "its file was replaced; it is encoded again"))
    kept = "its code is dropped" if _PRUNE.value else "its code is kept; --prune drops it"
    show("vanished", {name: f"{why}; {kept}" for name, why in review.vanished.items()})
    show("not checked", {name: f"{why}; its code is kept" for name, why in review.unsure.items()})


def read_annotations() -> int:
    """Make the file of codes from annotated images."""
    index, notes = stored_codes.index_of(
        _READ.value, fingerprint=_FINGERPRINT.value, strict=_STRICT.value
    )
    image_codes.save(_OUT.value, index)
    write_rows(index)
    show("no code", index.failures)
    print("\n".join([*notes, f"{_OUT.value}: {said_of(index)}; {len(index.failures):,} failed"]))
    return 0


def write_rows(codes: image_codes.ImageCodes) -> None:
    """Write the codes as rows of a table or of an array, where that is asked for."""
    if _NPY.value:
        npy_rows.write(_NPY.value, codes)
        print(f"{_NPY.value}: {len(codes.names):,} rows")
    if _PARQUET.value:
        try:  # encoding alone goes without pyarrow
            from dsh_jax.index import parquet_rows
        except ImportError as error:
            raise ValueError(f"--parquet wants pyarrow ({error}): pip install pyarrow") from error
        parquet_rows.write(_PARQUET.value, codes)
        print(f"{_PARQUET.value}: {len(codes.names):,} rows")


def annotate(codes: image_codes.ImageCodes) -> int:
    """Write the annotated copies."""
    copies = annotated.annotate_files(codes, _ANNOTATE.value)
    show("no annotated copy", copies.failures)
    show("no annotated copy now", copies.stale)
    show("vanished, so not copied", copies.vanished)
    show("mended in the copy", copies.mended)
    counts = {
        "cannot carry a code": copies.failures,
        "are not what was encoded, or cannot be read": copies.stale,
        "vanished": copies.vanished,
        "mended": copies.mended,
    }
    said = [f"{copies.whole:,} annotated copies"]
    said += [f"{len(names):,} {what}" for what, names in counts.items() if names]
    print(f"{_ANNOTATE.value}: {', '.join(said)}")
    return PARTIAL if copies.stale else 0


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    warnings.simplefilter("error", Image.DecompressionBombWarning)  # it becomes a reason
    with console.clear_errors():
        check_flags()
        if _READ.value:
            return read_annotations()
        if run_or_model := _WORKDIR.value or _MODEL.value:
            compiled.keep(run_or_model)
        if _EXPORT.value:
            run = exported.open_run(_WORKDIR.value, _VIEWS.value)
            print(f"export: {exported.export_run(*run, _WORKDIR.value, _EXPORT.value)}")
        if not _IMAGES.value:
            return 0
        root, names = list_images(epath.Path(_IMAGES.value).expanduser())
        if _PRETRAINED.value:
            encoder = pretrained_encoder(root, names)
        else:
            encoder = exported.open_encoder(
                workdir=_WORKDIR.value, model=_MODEL.value, views=_VIEWS.value
            )
        codes, done, seconds, review = encode_files.encode_files(
            encoder,
            root,
            names,
            _OUT.value,
            batch=_BATCH.value,
            strict=_STRICT.value,
            verify=_VERIFY.value,
            prune=_PRUNE.value,
        )
        failures = {name: codes.failures[name] for name in names if name in codes.failures}
        show_review(review, failures, _OUT.value)
        show("no code", failures)
        write_rows(codes)
        status = annotate(codes) if _ANNOTATE.value else 0
    said = [f"{done:,} images read in {seconds:,.1f} s ({done / seconds:,.0f} images/s)"]
    changed = len(set(review.changed) - set(failures))
    said += [f"{changed:,} changed and encoded again"] if changed else []
    dropped = "dropped" if _PRUNE.value else "kept"
    said += [f"{len(review.vanished):,} vanished ({dropped})"] if review.vanished else []
    said += [f"{len(failures):,} failed"]
    print(f"{_OUT.value}: {said_of(codes)}; {', '.join(said)}")
    return status if codes.names else 1


if __name__ == "__main__":
    console.run(main)
