"""Look at a model in a browser: drop an image, see its code, its neighbours, its reconstruction.

python -m experiments.serve --workdir=runs/pets --index=codes.npz
python -m experiments.serve --model=exports/pets --port=8000

--index is a file of experiments.encode by the same model; without it the page shows code and
reconstruction. Only this machine can reach the page unless --host says otherwise; then everybody
who reaches it sees the images of the index. It is called by an address, by this machine's name, or
by a name of --allow_host, such as that of a proxy. Files that are sent to it have no name on the
disk: nothing of them stays, however the command ends. Until model and index are read, the page says
what it waits for.
"""

import contextlib
import functools
import os
import signal
import sys
import warnings

import numpy as np
from absl import app, flags
from etils import epath
from PIL import Image

from dsh_jax.collection import image_codes
from dsh_jax.page import callers, server
from dsh_jax.page.application import application
from dsh_jax.page.lookup import Lookup
from dsh_jax.page.opening import Opening
from dsh_jax.runs import exported, reconstruction
from experiments import compiled, console

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.")
_MODEL = flags.DEFINE_string("model", None, "Folder of an export, in place of a run.")
_INDEX = flags.DEFINE_string("index", None, "File of codes to search, of experiments.encode.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of its images, where they have moved.")
_K = flags.DEFINE_integer("k", 12, "Neighbours to show.", lower_bound=1, upper_bound=200)
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen at.")
_PORT = flags.DEFINE_integer("port", 7860, "Port; 0 for any.", lower_bound=0, upper_bound=65535)
_MEGABYTES = flags.DEFINE_float("max_megabytes", 20, "Largest file that is taken.", lower_bound=0)
_NAMES = flags.DEFINE_multi_string("allow_host", [], "Another name that the page is called by.")
_PIXELS = flags.DEFINE_integer("max_pixels", 50_000_000, "Most pixels of one.", lower_bound=1)

flags.mark_flags_as_mutual_exclusive(["workdir", "model"], required=True)


def lookup() -> Lookup:
    """Return what the flags ask for."""
    decode, no_decoder = None, "An export has no decoder."
    if _WORKDIR.value:
        config, described = exported.open_run(_WORKDIR.value)
        encoder = exported.of_run(config, described, _WORKDIR.value)
        intact = reconstruction.intact(
            config, described, _WORKDIR.value, step=-1, variables=encoder.variables
        )
        if intact is not None:
            decode = functools.partial(reconstruction.rebuild, described.model, intact.variables)
        no_decoder = "This run has trained no decoder, or not kept its state."
    else:
        encoder = exported.load(_MODEL.value)
    index, no_index, root = None, "There is no index: pass --index to see neighbours.", ""
    if _INDEX.value:
        index, no_index = image_codes.load(epath.Path(_INDEX.value).expanduser()), ""
        root = os.path.expanduser(_IMAGES.value or index.root)
    return Lookup(
        name=folder().name,
        encoder=encoder,
        decode=decode,
        no_decoder=no_decoder,
        index=index,
        no_index=no_index,
        root=root,
        k=_K.value,
    )


def folder() -> epath.Path:
    """Return the folder of the run or of the export."""
    return epath.Path(_WORKDIR.value or _MODEL.value).expanduser().resolve()


def warm_up(asked: Lookup) -> None:
    """Compile all that the first image needs."""
    image = np.zeros((1, *asked.encoder.shape), np.uint8)
    asked.found(asked.encoder.encode_pixels(image), asked.encoder.bits)
    if asked.decode is not None:
        asked.decode(image)


def end_at_once(*_) -> None:
    """End, with nothing to save: an exception would be swallowed by some imports."""
    os._exit(0)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    warnings.simplefilter("error", Image.DecompressionBombWarning)  # it becomes a reason
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_at_once)
    names = callers.own_names(_HOST.value, set(_NAMES.value))
    opening = Opening(folder().name, names)

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)
        opening.say(words)

    with (
        contextlib.suppress(KeyboardInterrupt),
        console.clear_errors(),
        server.listen(_HOST.value, _PORT.value) as listening,
        server.serving(opening, listening) as thread,
    ):
        host = f"[{_HOST.value}]" if ":" in _HOST.value else _HOST.value
        print(f"Open http://{host}:{listening.getsockname()[1]} in a browser; Ctrl-C ends.")
        sys.stdout.flush()
        compiled.keep(_WORKDIR.value or _MODEL.value)
        say("Reading the model" + (" and the index." if _INDEX.value else "."))
        asked = lookup()
        page = application(
            asked,
            names=names,
            most_bytes=round(_MEGABYTES.value * 2**20),
            most_pixels=_PIXELS.value,
        )
        say("Compiling.")
        warm_up(asked)
        opening.page = page
        say("Ready.")
        # From here on, answers that are under way get a second.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        thread.join()


if __name__ == "__main__":
    console.run(main)
