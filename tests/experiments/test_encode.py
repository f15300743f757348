"""The command that encodes images, as a user types it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny
from commands import FORCED, ROOT, command, last_line
from etils import epath
from PIL import Image
from pyarrow import parquet

from dsh_jax import retrieval
from dsh_jax.collection import annotation, image_codes
from dsh_jax.runs import exported

ENDINGS = ("png", "jpg", "gif", "bmp", "webp", "tiff")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 12 digits in six formats, two files that are none, and a text."""
    root = epath.Path(tmp_path_factory.mktemp("pictures"))
    digits = tiny.run().source.images.take(np.arange(12))
    for row, image in enumerate(digits):
        path = root / ("a", "b c")[row % 2] / f"{row:02}.{ENDINGS[row % 6]}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    (root / "a" / "torn.jpg").write_bytes((root / "b c" / "01.jpg").read_bytes()[:300])
    (root / "text.png").write_text("no image")
    (root / "notes.txt").write_text("not asked for")
    return root


@pytest.fixture(scope="module")
def encoded(folder, pictures, tmp_path_factory):
    """An export and codes made by one command: (folder, process)."""
    out = epath.Path(tmp_path_factory.mktemp("encoded"))
    flags = [f"--export={out / 'model'}", f"--images={pictures}", f"--out={out / 'codes.npz'}"]
    flags += [f"--parquet={out / 'codes.parquet'}", f"--npy={out / 'codes.npy'}"]
    process = command("encode", f"--workdir={folder}", *flags)
    assert process.returncode == 0, process.stderr
    return out, process


def test_an_export_holds_its_views(folder, run, pictures, tmp_path):
    model = tmp_path / "model"
    process = command("encode", f"--workdir={folder}", f"--export={model}", "--views=2")
    assert process.returncode == 0, process.stderr
    config = tiny.config(evaluation__views=2)
    wanted = exported.of_run(config, run, folder)
    found = exported.load(model)
    assert found.fingerprint == wanted.fingerprint
    image = run.source.images.take(np.arange(40))
    np.testing.assert_array_equal(found.encode(image), wanted.encode(image))
    flags = ("--views=2", f"--images={pictures}", f"--out={tmp_path / 'codes.npz'}")
    refused = command("encode", f"--model={model}", *flags)
    assert last_line(refused.stderr).startswith("error: --views is of a run; what an export takes")


def test_every_file_has_a_code_or_is_named(encoded, pictures, run, folder):
    out, process = encoded
    found = image_codes.load(out / "codes.npz")
    images = [f"{('a', 'b c')[row % 2]}/{row:02}.{ENDINGS[row % 6]}" for row in range(12)]
    assert found.names == tuple(sorted(images))
    assert (found.size_Nx2 == 32).all()
    assert found.failures.keys() == {"a/torn.jpg", "text.png"}
    encoder = exported.of_run(tiny.config(), run, folder)
    assert found.fingerprint == encoder.fingerprint
    # Those without loss are the digits themselves.
    digits = run.source.images.take(np.arange(12))
    for row, name in enumerate(images):
        if row % 6 in (0, 3, 5):
            wanted = encoder.encode(digits[row : row + 1])
            np.testing.assert_array_equal(found.packed_NxW[[found.names.index(name)]], wanted)
    for wanted in (
        "1 files have no ending of an image and are left alone, such as notes.txt",
        "no code: a/torn.jpg: it cannot be ",
        "no code: text.png: it is no image that Pillow knows",
        "12 codes of 12 bits, model ",
        "2 failed",
        "codes.parquet: 12 rows",
        "codes.npy: 12 rows",
    ):
        assert wanted in process.stdout
    rows = parquet.read_table(out / "codes.parquet")
    assert tuple(rows["name"].to_pylist()) == found.names
    assert rows["code"].to_pylist() == found.packed_NxW.tolist()
    np.testing.assert_array_equal(np.load(out / "codes.npy"), found.packed_NxW)


PAGE = (ROOT / "docs" / "exports.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_page_of_exports_reads_them(block, encoded, capsys):
    if "torch" in block:
        pytest.importorskip("torch", reason="torch is not installed")
    out, _ = encoded
    found, names = image_codes.load(out / "codes.npz"), {"folder": str(out)}
    exec(block, names)
    if "code_NxW" in names:
        np.testing.assert_array_equal(names["code_NxW"], found.packed_NxW)
    if "nearest" in names:
        distance_1xk, row_1xk = retrieval.search(found.packed_NxW[:1], found.packed_NxW, 10)
        np.testing.assert_array_equal(names["nearest"], row_1xk[0])
        np.testing.assert_array_equal(names["distance_N"][row_1xk[0]], distance_1xk[0])
    assert {"code_NxW", "weights"} & names.keys()


def test_the_page_of_exports_has_its_blocks():
    assert len(BLOCKS) == 5


def test_an_export_and_a_list_give_the_same_codes_in_the_lists_order(encoded, pictures, tmp_path):
    out, _ = encoded
    lines = ["b c/11.tiff", str(pictures / "a" / "00.png"), "absent.png"]
    (pictures / "list.txt").write_text("\n".join(lines))
    flags = [f"--images={pictures / 'list.txt'}", f"--out={tmp_path / 'codes.npz'}"]
    process = command("encode", f"--model={out / 'model'}", *flags)
    assert process.returncode == 0, process.stderr
    assert "no code: absent.png: there is no such file" in process.stdout
    whole, some = (image_codes.load(x / "codes.npz") for x in (out, tmp_path))
    assert some.names == ("b c/11.tiff", "a/00.png")
    rows = [whole.names.index(name) for name in some.names]
    np.testing.assert_array_equal(some.packed_NxW, whole.packed_NxW[rows])
    # The same command with more images adds them behind those that it has.
    (pictures / "list.txt").write_text("\n".join(["b c/01.jpg", *lines]))
    process = command("encode", f"--model={out / 'model'}", *flags)
    assert process.returncode == 0, process.stderr
    assert "2 images read" in process.stdout  # the new one, and that which failed
    more = image_codes.load(tmp_path / "codes.npz")
    assert more.names == (*some.names, "b c/01.jpg")
    rows = [whole.names.index(name) for name in more.names]
    np.testing.assert_array_equal(more.packed_NxW, whole.packed_NxW[rows])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--images={list}", "--out={tmp}/codes.npz"], "line 1: ../secret.png is outside of"),
        (["--images={list}"], "--images and --out go together"),
    ],
)
def test_what_makes_no_sense_is_one_clear_line(flags, message, tmp_path):
    (tmp_path / "list.txt").write_text("../secret.png\n")
    places = {"list": tmp_path / "list.txt", "tmp": tmp_path}
    process = command("encode", "--workdir=none", *(flag.format(**places) for flag in flags))
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert last_line(process.stderr).startswith("error: ")
    assert message in last_line(process.stderr)


def test_strict_names_the_file_and_codes_of_another_model_are_kept(encoded, pictures, tmp_path):
    out, _ = encoded
    flags = [f"--model={out / 'model'}", f"--images={pictures}"]
    process = command("encode", *flags, f"--out={tmp_path / 'codes.npz'}", "--strict")
    assert process.returncode == 1
    assert f"error: {pictures}/a/torn.jpg: it cannot be " in last_line(process.stderr)
    assert not list(tmp_path.iterdir())
    found = image_codes.load(out / "codes.npz")._replace(fingerprint="f" * 16)
    image_codes.save(tmp_path / "codes.npz", found)
    process = command("encode", *flags, f"--out={tmp_path / 'codes.npz'}")
    assert process.returncode == 1
    assert "of the model ffffffffffffffff, but this model is" in last_line(process.stderr)
    assert image_codes.load(tmp_path / "codes.npz").fingerprint == "f" * 16


def test_photos_that_were_replaced_or_deleted_are_named_and_the_others_annotated(
    encoded, pictures, tmp_path
):
    root, copies = tmp_path / "photos", tmp_path / "copies"
    shutil.copytree(pictures / "b c", root)
    flags = [f"--model={encoded[0] / 'model'}", f"--images={root}", f"--out={tmp_path / 'c.npz'}"]
    process = command("encode", *flags)
    assert process.returncode == 0, process.stderr
    before = image_codes.load(tmp_path / "c.npz")
    assert before.names == ("01.jpg", "03.bmp", "05.tiff", "07.jpg", "09.bmp", "11.tiff")
    shutil.copy(pictures / "a" / "00.png", root / "03.bmp")
    (root / "05.tiff").unlink()
    process = command("encode", *flags, f"--annotate={copies}")
    assert process.returncode == 0, process.stderr
    for words in (
        "changed: 03.bmp: its file was replaced; it is encoded again",
        "vanished: 05.tiff: there is no such file; its code is kept; --prune drops it",
        "vanished, so not copied: 05.tiff: there is no such file",
        "copies: 3 annotated copies, 2 cannot carry a code, 1 vanished",
        "6 codes of 12 bits, model ",
        "1 images read in ",
        "1 changed and encoded again, 1 vanished (kept), 0 failed",
    ):
        assert words in process.stdout
    after = image_codes.load(tmp_path / "c.npz")
    whole = image_codes.load(encoded[0] / "codes.npz")
    row = whole.names.index("a/00.png")
    np.testing.assert_array_equal(after.packed_NxW[1], whole.packed_NxW[row])
    np.testing.assert_array_equal(after.packed_NxW[2:], before.packed_NxW[2:])
    assert annotation.read(copies / "03.bmp").code == after.packed_NxW[1].tobytes()
    # Of the same size and time, and so found out only when it is to be copied.
    stat, data = os.stat(root / "07.jpg"), (root / "07.jpg").read_bytes()
    (root / "07.jpg").write_bytes(data[:-2] + b"\xff\xd8")
    os.utime(root / "07.jpg", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (copies / "07.jpg").unlink()
    process = command("encode", *flags, f"--annotate={copies}", "--prune")
    assert process.returncode == 23, process.stderr
    assert "no annotated copy now: 07.jpg: it has changed since it was encoded" in process.stdout
    assert "1 vanished (dropped)" in process.stdout
    assert not (copies / "07.jpg").exists()
    assert len(image_codes.load(tmp_path / "c.npz").names) == 5


@pytest.mark.slow
def test_annotations_are_read_whatever_else_is_in_the_folder(encoded, pictures, tmp_path):
    copies = tmp_path / "copies"
    flags = [f"--model={encoded[0] / 'model'}", f"--images={pictures}"]
    process = command("encode", *flags, f"--out={tmp_path / 'c.npz'}", f"--annotate={copies}")
    assert process.returncode == 0, process.stderr
    whole = (copies / "b c" / "01.jpg").read_bytes()
    (copies / "cut.jpg").write_bytes(whole[:-40])
    (copies / "head.jpg").write_bytes(whole[:100])
    (copies / "foreign.jpg").write_bytes((pictures / "b c" / "01.jpg").read_bytes())
    flags = [f"--read_annotations={copies}", f"--out={tmp_path / 'again.npz'}"]
    process = command("encode", *flags)
    assert process.returncode == 0, process.stderr
    for words in (
        "no code: cut.jpg: image file is truncated",
        "no code: head.jpg: the segment at byte ",
        "1 files have no code: foreign.jpg.",
        "codes of 12 bits, model ",
        "; 2 failed",
    ):
        assert words in process.stdout
    first, again = (image_codes.load(tmp_path / x) for x in ("c.npz", "again.npz"))
    for name, packed_W in zip(again.names, again.packed_NxW, strict=True):
        np.testing.assert_array_equal(packed_W, first.packed_NxW[first.names.index(name)])
    process = command("encode", *flags, "--strict")
    assert process.returncode == 1
    assert "/cut.jpg: image file is truncated" in last_line(process.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 3])
def test_a_killed_command_goes_on_to_the_same_codes(parts, encoded, tmp_path):
    root = tmp_path / "many"
    root.mkdir()
    for row in range(30):  # large: a part takes long enough to be killed in
        pixels = np.random.default_rng(row).integers(0, 256, (40, 30, 3), np.uint8)
        Image.fromarray(pixels).resize((1600, 1200)).save(root / f"{row}.jpg")
        for copy in range(12):
            os.link(root / f"{row}.jpg", root / f"{row}-{copy}.jpg")
    (root / "3.jpg").unlink()
    (root / "3.jpg").write_bytes(b"torn")
    flags = [f"--model={encoded[0] / 'model'}", f"--images={root}", "--batch=16"]
    whole, killed = tmp_path / "whole.npz", tmp_path / "killed.npz"
    process = command("encode", *flags, f"--out={whole}")
    assert process.returncode == 0, process.stderr
    env = {name: value for name, value in os.environ.items() if name not in FORCED}
    again = [sys.executable, "-m", "experiments.encode", *flags, f"--out={killed}"]
    with subprocess.Popen(again, cwd=ROOT, env=env, stderr=subprocess.DEVNULL) as process:
        while len(list(tmp_path.glob("killed.npz.parts/*.npz"))) < parts:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not killed.exists()
    left = len(list(tmp_path.glob("killed.npz.parts/*.npz")))
    finished = subprocess.run(again, cwd=ROOT, env=env, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert f"{64 * left} of 390 images are encoded already" in finished.stderr
    assert killed.read_bytes() == whole.read_bytes()
    assert len(image_codes.load(killed).names) == 389
