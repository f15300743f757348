"""However often it is stopped, the codes of many files are those of an undisturbed call."""

import numpy as np
import pytest
from PIL import Image
from test_image_encoder import code, encoder, images

from dsh_jax import encode_files, image_codes, pictures
from dsh_jax.encode_files import BATCHES_A_PART
from dsh_jax.image_encoder import ImageEncoder

BATCH = 4
PART = BATCH * BATCHES_A_PART
ROWS = 3 * PART + 5
TORN = (3, PART + 1, ROWS - 1)
NAMES = [f"{row:03}.png" for row in range(ROWS)]
GOOD = [row for row in range(ROWS) if row not in TORN]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder of small pictures, three of them torn."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, image in zip(NAMES, images(ROWS), strict=True):
        Image.fromarray(image[..., 0]).save(folder / name)
    for row in TORN:
        (folder / NAMES[row]).write_bytes(b"torn")
    return folder


def run(root, out, names=NAMES, **options):
    return encode_files.encode_files(encoder(), root, names, out, batch=BATCH, **options)


def assert_whole(path, root):
    found = image_codes.load(path)
    assert found.names == tuple(NAMES[row] for row in GOOD)
    np.testing.assert_array_equal(found.packed_NxW, code(images(ROWS))[GOOD])
    assert (found.size_Nx2 == 8).all()
    assert found.root == str(root)
    assert list(found.failures) == [NAMES[row] for row in TORN]
    assert set(found.failures.values()) == {"it is no image that Pillow knows"}
    assert [x.name for x in path.parent.iterdir()] == [path.name]


def test_every_file_has_its_code_or_its_reason(root, tmp_path):
    outcome = run(root, tmp_path / "codes.npz")
    assert outcome.done == ROWS
    assert_whole(tmp_path / "codes.npz", root)


@pytest.mark.parametrize("stopped_at", [1, PART + 2, 2 * PART, ROWS - 1])
def test_a_stopped_call_goes_on(stopped_at, root, tmp_path, monkeypatch):
    read, count = ImageEncoder.read_all, []

    def stop(self, paths):
        count.extend(paths)
        if any(path.endswith(NAMES[stopped_at]) for path in paths):
            raise KeyboardInterrupt
        return read(self, paths)

    with monkeypatch.context() as patched:
        patched.setattr(ImageEncoder, "read_all", stop)
        with pytest.raises(KeyboardInterrupt):
            run(root, tmp_path / "codes.npz")
    assert not (tmp_path / "codes.npz").exists()
    parts = len(list(tmp_path.glob("codes.npz.parts/*.npz")))
    assert parts == stopped_at // PART
    outcome = run(root, tmp_path / "codes.npz")
    assert outcome.done == ROWS - parts * PART
    assert_whole(tmp_path / "codes.npz", root)


def test_only_new_images_and_failures_are_read_again(root, tmp_path):
    out = tmp_path / "codes.npz"
    run(root, out, NAMES[:10])
    outcome = run(root, out)
    assert outcome.done == ROWS - 9
    assert_whole(out, root)
    before = out.read_bytes()
    assert run(root, out).done == len(TORN)
    assert out.read_bytes() == before


def test_the_order_is_that_of_the_names(root, tmp_path):
    names = NAMES[10:20][::-1]
    found = run(root, tmp_path / "codes.npz", names).codes
    assert list(found.names) == [name for name in names if name not in found.failures]
    np.testing.assert_array_equal(
        found.packed_NxW, code(images(ROWS))[[NAMES.index(name) for name in found.names]]
    )


def test_strict_stops_at_the_first_failure_and_goes_on_when_it_is_mended(root, tmp_path):
    out, names = tmp_path / "codes.npz", NAMES[4 : 4 + 2 * PART]
    torn = NAMES[PART + 1]
    with pytest.raises(ValueError, match=f"{torn}: it is no image .* leave --strict out"):
        run(root, out, names, strict=True)
    assert not out.exists()
    others = [name for name in names if name != torn]
    assert run(root, out, others, strict=True).codes.names == tuple(others)


def test_all_may_fail(root, tmp_path):
    names = [NAMES[row] for row in TORN] + ["absent.png"]
    found = run(root, tmp_path / "codes.npz", names).codes
    assert (found.names, len(found.failures)) == ((), 4)
    assert found.failures["absent.png"] == "there is no such file"


def test_memory_is_that_of_two_parts(root, tmp_path, monkeypatch):
    held, most = set(), []
    read, codes_of = ImageEncoder.read_all, ImageEncoder.codes_of

    def reading(self, paths):
        held.update(paths)
        most.append(len(held))
        return read(self, paths)

    def encoding(self, names, found, **options):
        held.difference_update(f"{root}/{name}" for name in names)
        return codes_of(self, names, found, **options)

    monkeypatch.setattr(ImageEncoder, "read_all", reading)
    monkeypatch.setattr(ImageEncoder, "codes_of", encoding)
    run(root, tmp_path / "codes.npz")
    assert max(most) <= 2 * PART


def test_outputs_of_others_are_refused(root, tmp_path):
    out = tmp_path / "codes.npz"
    run(root, out, NAMES[:3])
    before = out.read_bytes()
    other = encoder(fingerprint="f" * 16)
    with pytest.raises(ValueError, match="codes of 12 bits of the model 0123456789abcdef, but"):
        encode_files.encode_files(other, root, NAMES, out)
    with pytest.raises(ValueError, match=r"but these are under .*: choose another --out"):
        run(tmp_path, out)
    assert out.read_bytes() == before
    # Parts of another model that was stopped.
    parts = tmp_path / "new.npz.parts"
    parts.mkdir()
    (parts / "000000.npz").write_bytes(before)
    with pytest.raises(ValueError, match=r"000000\.npz holds codes of 12 bits of the model"):
        encode_files.encode_files(other, root, NAMES, tmp_path / "new.npz")


@pytest.mark.parametrize(
    ("out", "message"),
    [("file/codes.npz", "file/codes.npz.parts cannot be written"), ("folder", "is a folder")],
)
def test_an_output_that_cannot_be_written_is_said_at_once(
    out, message, root, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(pictures, "read_all", None)  # nothing is read
    with pytest.raises(ValueError, match=message):
        run(root, tmp_path / out)


def test_no_names_are_refused(root, tmp_path):
    with pytest.raises(ValueError, match="there are no images to encode"):
        run(root, tmp_path / "codes.npz", [])
    assert not list(tmp_path.iterdir())
