"""Find the images nearest to some images, by their codes.

python -m experiments.search --index=codes.npz --workdir=runs/pets --query=cat.jpg --k=20
python -m experiments.search --index=codes.npz --model=exports/pets --query=a.jpg --query=b.png \
  --json=found.json --html=found.html
python -m experiments.search --index=codes.npz --workdir=runs/pets --query=cat.jpg \
  --faiss=codes.faiss --faiss_kind=ivf
python -m experiments.search --index=codes.npz --workdir=runs/pets --query=cat.jpg \
  --milvus=http://localhost:19530

--index is a file of experiments.encode by the same model: codes of another are refused. Repeat
experiments.encode with the same --out to bring it in step with the images. Found images that have
vanished since, or that were replaced, are marked in text, JSON and HTML.

--faiss keeps an index of FAISS in a file beside it, made where it is not there, and brought in step
with it; a large index is searched through it. --milvus keeps the codes in a collection of Milvus in
the same way, and searches there.
"""

import json
import os
import warnings

import numpy as np
from absl import app, flags
from etils import epath
from PIL import Image

from dsh_jax import retrieval, whole
from dsh_jax.collection import changed_files, image_codes
from dsh_jax.index import faiss_file, faiss_index, milvus_index
from dsh_jax.page import hits
from dsh_jax.runs import exported
from experiments import compiled, console

_INDEX = flags.DEFINE_string("index", None, "File of codes, of experiments.encode.")
_QUERY = flags.DEFINE_multi_string("query", None, "Image to look for; repeat it for several.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run that made the index.")
_MODEL = flags.DEFINE_string("model", None, "Folder of an export, in place of a run.")
_K = flags.DEFINE_integer("k", 20, "How many to find.", lower_bound=1)
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of the index's images for --html, where they have moved."
)
_JSON = flags.DEFINE_string("json", None, "File to write what was found to, as JSON.")
_HTML = flags.DEFINE_string("html", None, "File to write what was found to, as a page.")

_FAISS = flags.DEFINE_string("faiss", None, "File for an index of FAISS over the codes.")
_FAISS_KIND = flags.DEFINE_enum(
    "faiss_kind", None, list(faiss_index.KINDS), "Its kind; a new one is flat, which is exact."
)
_FAISS_PROBE = flags.DEFINE_integer(
    "faiss_probe", None, "Cells that ivf looks at, or first bits that may differ for hash."
)
_FAISS_FROM = flags.DEFINE_integer(
    "faiss_from", 100_000, "Images from which on FAISS is searched through."
)
_MILVUS = flags.DEFINE_string(
    "milvus", None, "URI of Milvus, or file for an embedded one, *.db; MILVUS_TOKEN is its token."
)
_COLLECTION = flags.DEFINE_string("milvus_collection", "codes", "Name of its collection.")

flags.mark_flags_as_required(["index", "query"])
flags.mark_flags_as_mutual_exclusive(["workdir", "model"], required=True)
flags.mark_flags_as_mutual_exclusive(["faiss", "milvus"])


def search(packed_QxW: np.ndarray, index: image_codes.ImageCodes, k: int):
    """Return (distance_Qxk, row_Qxk) of the nearest, by the way that the flags name."""
    if _MILVUS.value:
        with milvus_index.connected(_MILVUS.value, token=os.environ.get("MILVUS_TOKEN", "")) as at:
            milvus_index.export(at, _COLLECTION.value, index, renew=True)
            return milvus_index.search(at, _COLLECTION.value, packed_QxW, k)
    if _FAISS.value:
        kept = faiss_file.keep(
            _FAISS.value,
            index.packed_NxW,
            bits=index.bits,
            kind=_FAISS_KIND.value,
            probe=_FAISS_PROBE.value,
            renew=True,
        )
        is_large = len(index.names) >= _FAISS_FROM.value
        use = "searched through" if is_large else f"searched through from {_FAISS_FROM.value:,} on"
        print(f"{_FAISS.value}: {faiss_index.kind_of(kept)} index of {kept.ntotal:,} codes, {use}")
        if is_large:
            return faiss_index.search(kept, packed_QxW, k)
    return retrieval.search(packed_QxW, index.packed_NxW, k)


def write_json(path: str, index: image_codes.ImageCodes, found: list[hits.Neighbours]) -> None:
    """Write the neighbours of each query as JSON."""
    queries = [
        {
            "query": one.query,
            "neighbours": [
                {"name": name, "distance": distance, "width": width, "height": height}
                | ({"mark": mark} if mark else {})
                for name, distance, (width, height), mark in zip(
                    one.names, one.distances, one.sizes, one.marked(), strict=True
                )
            ],
        }
        for one in found
    ]
    record = {
        "index": _INDEX.value,
        "images": len(index.names),
        "bits": index.bits,
        "fingerprint": index.fingerprint,
        "queries": queries,
    }
    out = epath.Path(path).expanduser()
    out.parent.mkdir(parents=True, exist_ok=True)
    # In ASCII: names that are no UTF-8 come back from it as they were.
    whole.write_text(out, json.dumps(record, indent=2) + "\n")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}; repeat --query for several images")
    console.quiet()
    warnings.simplefilter("error", Image.DecompressionBombWarning)  # it becomes a reason
    with console.clear_errors():
        index = image_codes.load(epath.Path(_INDEX.value).expanduser())
        if not index.names:
            raise ValueError(f"{_INDEX.value} holds no codes: encode images first")
        if not _FAISS.value and (_FAISS_KIND.value or _FAISS_PROBE.value is not None):
            raise ValueError("--faiss_kind and --faiss_probe are of --faiss: pass its file")
        compiled.keep(_WORKDIR.value or _MODEL.value)
        encoder = exported.open_encoder(workdir=_WORKDIR.value, model=_MODEL.value)
        k = min(_K.value, len(index.names))
        image_codes.check_same_model(
            index, _INDEX.value, bits=encoder.bits, fingerprint=encoder.fingerprint
        )
        distance_Qxk, row_Qxk = search(encoder.encode(_QUERY.value), index, k)
        root = os.path.expanduser(_IMAGES.value or index.root)
        found = [
            hits.Neighbours(
                query=query,
                names=[index.names[row] for row in rows],
                paths=[os.path.join(root, index.names[row]) for row in rows],
                distances=distances.tolist(),
                sizes=[tuple(index.size_Nx2[row].tolist()) for row in rows],
                marks=changed_files.marks(index, rows, root),
            )
            for query, rows, distances in zip(_QUERY.value, row_Qxk, distance_Qxk, strict=True)
        ]
        print("\n\n".join(map(hits.table, found)))
        if not os.path.isdir(root):
            print(
                f"\nThe images' folder {root or '(none)'} is not there, so whether they still are "
                "is not known: pass --images where they have moved."
            )
        if _JSON.value:
            write_json(_JSON.value, index, found)
        if _HTML.value:
            name = os.path.basename(_INDEX.value)
            title = f"{name} · {len(index.names):,} images · {index.bits} bits"
            hits.write_page(_HTML.value, title, found)


if __name__ == "__main__":
    console.run(main)
