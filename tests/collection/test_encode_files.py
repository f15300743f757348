"""However often it is stopped, the codes of many files are those of an undisturbed call."""

import os
import shutil

import numpy as np
import pytest
from encoders import code, encoder, images
from PIL import Image

from dsh_jax import pictures
from dsh_jax.collection import encode_files, file_state, image_codes
from dsh_jax.collection.encode_files import BATCHES_A_PART
from dsh_jax.collection.encoder import ImageEncoder

BATCH = 4
PART = BATCH * BATCHES_A_PART
ROWS = 3 * PART + 5
OLD = 10**18  # nanoseconds
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
    for name in NAMES:
        age(folder / name)
    return folder


def age(path, seconds=0):
    """Make a file one that was changed long ago, so that its time is trusted."""
    os.utime(path, ns=(OLD + seconds * 10**9,) * 2)


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
    failed = sum(row < parts * PART for row in TORN)  # which are tried again
    assert outcome.done == ROWS - parts * PART + failed
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


# Files that change.


@pytest.fixture
def photos(tmp_path):
    """Six pictures, encoded: (folder, file of codes)."""
    folder, out = tmp_path / "photos", tmp_path / "codes.npz"
    (folder / "deep").mkdir(parents=True)
    for row, name in enumerate(SIX):
        draw(folder / name, row)
    run(folder, out, SIX)
    return folder, out


SIX = ("a.png", "b.png", "c.png", "d.png", "deep/e.png", "f.png")


def draw(path, row, seconds=0):
    """Write the row's picture, all of which have the same size in bytes."""
    Image.fromarray(images(20)[row, ..., 0]).save(path, compress_level=0)
    age(path, seconds)


def codes_of(found):
    """The rows of the pictures whose codes the images have."""
    wanted = code(images(20))
    rows = [np.flatnonzero((wanted == one).all(axis=1)) for one in found.packed_NxW]
    return dict(zip(found.names, [int(row[0]) for row in rows], strict=True))


def test_each_code_has_size_time_and_hash_of_its_file(photos):
    folder, out = photos
    found = image_codes.load(out)
    for name, state in zip(found.names, image_codes.states(found), strict=True):
        data = (folder / name).read_bytes()
        assert state == (len(data), OLD, file_state.digest(data))


def test_a_replaced_photo_is_encoded_again_in_its_row(photos):
    folder, out = photos
    draw(folder / "b.png", 10, seconds=1)
    found = run(folder, out, SIX)
    assert (found.done, found.review.changed) == (1, ("b.png",))
    assert found.codes.names == SIX
    assert codes_of(image_codes.load(out)) == dict(zip(SIX, [0, 10, 2, 3, 4, 5], strict=True))
    # By now nothing is to do, and the file is the same.
    before = out.read_bytes()
    assert run(folder, out, SIX).done == 0
    assert out.read_bytes() == before


def test_another_size_with_the_same_time_is_another_file(photos):
    folder, out = photos
    draw(folder / "b.png", 10)
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes() + b"a trailer")
    age(folder / "b.png")
    assert run(folder, out, SIX).review.changed == ("b.png",)


def test_a_touched_photo_is_not_encoded_again_and_its_time_is_kept(photos, monkeypatch):
    folder, out = photos
    age(folder / "b.png", seconds=5)
    found = run(folder, out, SIX)
    assert (found.done, found.review.changed) == (0, ())
    assert image_codes.load(out).stat_Nx2[:, 1].tolist() == [OLD, OLD + 5 * 10**9, *[OLD] * 4]
    monkeypatch.setattr(file_state, "read", None)  # the next call need not read it
    assert run(folder, out, SIX).review.touched == {}


def test_only_verify_tells_a_photo_of_the_same_size_and_time(photos):
    folder, out = photos
    draw(folder / "b.png", 10)
    assert run(folder, out, SIX).done == 0
    assert run(folder, out, SIX, verify=True).review.changed == ("b.png",)
    assert codes_of(image_codes.load(out))["b.png"] == 10


def test_vanished_photos_keep_their_codes_until_they_are_dropped(photos):
    folder, out = photos
    (folder / "b.png").unlink()
    (folder / "c.png").unlink()
    (folder / "c.png").mkdir()
    left = [name for name in SIX if name not in ("b.png", "c.png")]
    wanted = {"b.png": "there is no such file", "c.png": "it is a folder now"}
    for names in (left, SIX):  # of a folder, of a list
        found = run(folder, out, names)
        assert (found.done, found.review.vanished) == (0, wanted)
        assert found.codes.names == SIX
        assert not found.codes.failures
    found = run(folder, out, left, prune=True)
    assert found.review.vanished == wanted
    assert list(found.codes.names) == left
    assert codes_of(image_codes.load(out)) == dict(zip(left, [0, 3, 4, 5], strict=True))
    assert run(folder, out, left).review.vanished == {}


def test_old_failures_of_files_that_are_gone_are_dropped_too(photos):
    folder, out = photos
    (folder / "torn.png").write_bytes(b"torn")
    run(folder, out, [*SIX, "torn.png", "absent.png"])
    (folder / "torn.png").unlink()
    found = run(folder, out, [*SIX, "absent.png"], prune=True).codes
    assert found.failures == {"absent.png": "there is no such file"}  # it was asked for


def test_images_of_another_list_stay_untouched(photos):
    folder, out = photos
    draw(folder / "b.png", 10, seconds=1)
    draw(folder / "g.png", 6)
    found = run(folder, out, ["g.png"], prune=True)
    assert (found.done, found.review.changed) == (1, ())
    assert codes_of(found.codes) == dict(zip([*SIX, "g.png"], range(7), strict=True))
    assert run(folder, out, SIX).review.changed == ("b.png",)


def test_not_every_image_is_dropped(photos):
    folder, out = photos
    before = out.read_bytes()
    for name in SIX:
        (folder / name).unlink()
    draw(folder / "new.png", 7)  # another disk in its place
    with pytest.raises(
        ValueError, match=r"all 6 images of .*codes.npz have vanished from .*remove"
    ):
        run(folder, out, ["new.png"], prune=True)
    assert out.read_bytes() == before
    with pytest.raises(ValueError, match=r"no images to encode: .* has 6 of .*: mount its disk"):
        run(folder, out, [], prune=True)
    found = run(folder, out, ["new.png"])
    assert len(found.review.vanished) == 6
    assert found.codes.names == (*SIX, "new.png")
    # One that is left is enough.
    found = run(folder, out, ["new.png"], prune=True)
    assert found.codes.names == ("new.png",)


def test_a_photo_that_fails_now_loses_its_code_and_gets_it_back(photos):
    folder, out = photos
    (folder / "b.png").write_bytes(b"torn")
    found = run(folder, out, SIX).codes
    assert found.names == tuple(name for name in SIX if name != "b.png")
    assert found.failures == {"b.png": "it is no image that Pillow knows"}
    draw(folder / "b.png", 11)
    found = run(folder, out, SIX).codes
    assert codes_of(found)["b.png"] == 11
    assert not found.failures


def test_codes_of_before_hashes_were_kept_are_made_again(photos):
    folder, out = photos
    found = image_codes.load(out)
    with np.load(out) as arrays:
        before = {name: x for name, x in arrays.items() if name not in ("stats", "digests")}
    before["packed"] = before["packed"] ^ np.uint8(1)
    np.savez(out, **before)
    outcome = run(folder, out, SIX[1:])
    assert (outcome.done, outcome.review.unknown) == (5, SIX[1:])
    after = image_codes.load(out)
    assert after.names == SIX
    np.testing.assert_array_equal(after.packed_NxW[1:], found.packed_NxW[1:])
    assert image_codes.states(after)[0] == file_state.UNKNOWN
    assert image_codes.states(after)[1:] == image_codes.states(found)[1:]


def test_files_of_parts_are_compared_too(root, tmp_path, monkeypatch):
    folder, out = tmp_path / "photos", tmp_path / "codes.npz"
    shutil.copytree(root, folder, copy_function=shutil.copy2)
    read = ImageEncoder.read_all

    def stop(self, paths):
        if any(path.endswith(NAMES[2 * PART]) for path in paths):
            raise KeyboardInterrupt
        return read(self, paths)

    with monkeypatch.context() as patched:
        patched.setattr(ImageEncoder, "read_all", stop)
        with pytest.raises(KeyboardInterrupt):
            run(folder, out)
    draw(folder / NAMES[4], 10, seconds=1)
    draw(folder / NAMES[TORN[0]], 11)
    (folder / NAMES[5]).unlink()
    outcome = run(folder, out)
    assert outcome.review.changed == (NAMES[4],)
    assert list(outcome.review.vanished) == [NAMES[5]]
    found = codes_of(image_codes.take(outcome.codes, [3, 4]))
    assert found == {NAMES[3]: 11, NAMES[4]: 10}
    assert outcome.codes.names[:6] == tuple(NAMES[:6])
    assert outcome.done == ROWS - 2 * PART + 3  # the one changed, and two that had failed


@pytest.mark.parametrize("same_time", [False, True])
def test_a_photo_that_changes_while_it_is_read_never_has_the_code_of_another(
    same_time, photos, monkeypatch
):
    folder, out = photos
    read = ImageEncoder.read_all

    def change(self, paths):
        draw(folder / "b.png", 12, seconds=1 if same_time else 2)
        return read(self, paths)

    draw(folder / "b.png", 11, seconds=1)
    with monkeypatch.context() as patched:
        patched.setattr(ImageEncoder, "read_all", change)
        found = run(folder, out, SIX).codes
    why = "it changed while it was read: run the same command again"
    assert found.failures == {"b.png": why}
    assert "b.png" not in found.names
    found = run(folder, out, SIX).codes
    assert codes_of(found)["b.png"] == 12
    assert not found.failures
