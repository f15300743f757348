"""Images in Parquet, Arrow and tar files are those that were packed, with labels and parts."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from etils import epath
from PIL import Image
from pyarrow import parquet

from dsh_jax.data import packs, sources

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 5, 3), np.uint8)


def png(image):
    """Return a picture as the bytes of its file, which lose nothing."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


FILES = [png(image) for image in PIXELS]


def described(names, column="label", in_list=False):
    """Return the metadata by which Hugging Face names classes."""
    label = {"names": names, "_type": "ClassLabel"}
    features = {"image": {"_type": "Image"}, column: label}
    if in_list:
        features[column] = {"feature": label, "_type": "Sequence"}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def rows(start, stop, label, names=(), column="label", in_list=False):
    """Return a table as Hugging Face writes it."""
    image = [{"bytes": file, "path": f"{n}.png"} for n, file in enumerate(FILES[start:stop])]
    table = pa.table({"image": image, column: label})
    return table.replace_schema_metadata(described(names, column, in_list) if names else None)


def load(kind, folder, **options):
    source = sources.load(
        kind, data_dir=str(folder), image_size=5, cache_dir=str(folder / "cache"), **options
    )
    np.testing.assert_array_equal(source.images.take(np.arange(len(source))), PIXELS[: len(source)])
    return source


def test_parquet_of_hugging_face_has_names_and_parts(tmp_path):
    names = ["cat", "dog", "none of these"]
    parquet.write_table(rows(4, 6, [1, 0], names), tmp_path / "train-00001-of-00002.parquet")
    parquet.write_table(rows(1, 4, [0, 1, 0], names), tmp_path / "train-00000-of-00002.parquet")
    parquet.write_table(rows(0, 1, [1], names), tmp_path / "test-00000-of-00001.parquet")
    source = load("parquet", tmp_path)
    assert source.label_names == tuple(names)
    assert source.label_NxC.argmax(1).tolist() == [1, 0, 1, 0, 1, 0]
    assert not source.multilabel
    assert source.official["query"].tolist() == [True] + 5 * [False]
    assert source.official["train"].tolist() == [False] + 5 * [True]


def test_arrow_of_save_to_disk_is_read_from_its_folders(tmp_path):
    for part, (start, stop) in {"test": (0, 2), "train": (2, 4), "validation": (4, 6)}.items():
        (tmp_path / part).mkdir()
        table = rows(start, stop, [0, 1], ["cat", "dog"])
        with pa.ipc.new_stream(tmp_path / part / "data-00000-of-00001.arrow", table.schema) as file:
            file.write_table(table)
        (tmp_path / part / "cache-1.arrow").write_bytes(b"of a map, no data")
    source = load("parquet", tmp_path)
    assert source.official["query"].tolist() == [True, True] + 4 * [False]
    assert source.official["train"].tolist() == [False, False, True, True, False, False]


def test_lists_of_classes_are_several_labels(tmp_path):
    label = [[0, 2], [], [1], [2, 2], [0], [1, 0]]
    table = rows(0, 6, label, ["sky", "sea", "sun"], column="labels", in_list=True)
    parquet.write_table(table, tmp_path / "all.parquet")
    source = load("parquet", tmp_path)
    assert source.label_names == ("sky", "sea", "sun")
    wanted = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0]]
    assert source.label_NxC.tolist() == wanted
    assert source.multilabel
    assert not source.official


def test_bytes_and_names_need_no_description(tmp_path):
    table = pa.table({"file": FILES, "kind": ["dog", "cat", "cat", "dog", "dog", "cat"]})
    parquet.write_table(table, tmp_path / "one.parquet")
    source = load("parquet", tmp_path)
    assert source.label_names == ("cat", "dog")
    assert source.label_NxC.argmax(1).tolist() == [1, 0, 0, 1, 1, 0]


def test_of_several_columns_one_is_named(tmp_path):
    table = pa.table({"image": FILES, "maker": ["a", "b"] * 3, "colour": [0, 1] * 3})
    parquet.write_table(table, tmp_path / "one.parquet")
    with pytest.raises(ValueError, match=r"of which maker, colour could be that of classes: set"):
        load("parquet", tmp_path)
    assert load("parquet", tmp_path, label_column="maker").label_names == ("a", "b")
    assert load("parquet", tmp_path, label_column="colour").label_names == ("class 0", "class 1")


def test_numbers_are_named_by_a_file_of_classes_and_minus_one_is_no_class(tmp_path):
    (tmp_path / "classes.txt").write_text("red\ngreen\nblue\n")
    parquet.write_table(rows(0, 6, [0, 2, -1, 2, 0, 1]), tmp_path / "one.parquet")
    source = load("parquet", tmp_path)
    assert source.label_names == ("red", "green", "blue")
    assert source.label_NxC.sum(1).tolist() == [1, 1, 0, 1, 1, 1]


def tar(path, files):
    """Write a tar of names and contents."""
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_tars_of_samples(tmp_path):
    first = {}
    for n in range(3):
        first |= {f"./a/{n}.x.png": FILES[n], f"./a/{n}.cls": b"%d\n" % (n % 2)}
    tar(tmp_path / "test-0.tar", first)
    second = {}
    for n in range(3, 6):
        second |= {f"{n}.json": json.dumps({"label": n % 2, "text": "x"}).encode()}
        second |= {f"{n}.PNG": FILES[n], f"{n}.txt": b"a caption"}
    tar(tmp_path / "train-0.tgz", second)
    source = load("webdataset", tmp_path)
    assert source.label_NxC.argmax(1).tolist() == [0, 1, 0, 1, 0, 1]
    assert source.official["query"].tolist() == 3 * [True] + 3 * [False]


def test_names_in_a_tar_lead_nowhere(tmp_path):
    (tmp_path / "in").mkdir()
    tar(tmp_path / "in" / "a.tar", {"../../evil.png": FILES[0], "../../evil.cls": b"cat"})
    source = load("webdataset", tmp_path / "in")
    assert source.images.name_N.tolist() == ["00000/00000000.png"]
    assert not list(tmp_path.glob("*.png"))


def test_what_is_unpacked_is_read_again_and_a_change_is_seen(tmp_path, monkeypatch):
    path = tmp_path / "one.parquet"
    parquet.write_table(rows(0, 4, [0, 1, 0, 1]), path)
    load("parquet", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(packs, "_table", None)
        assert len(load("parquet", tmp_path)) == 4
    parquet.write_table(rows(0, 6, [0, 1, 0, 1, 0, 1]), path)
    assert len(load("parquet", tmp_path)) == 6


def test_a_stop_leaves_nothing_that_is_taken_for_whole(tmp_path, monkeypatch):
    parquet.write_table(rows(0, 6, [0, 1, 0, 1, 0, 1]), tmp_path / "one.parquet")
    original, left = packs._label, [3]

    def stops(record):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return original(record)

    monkeypatch.setattr(packs, "_label", stops)
    with pytest.raises(KeyboardInterrupt):
        load("parquet", tmp_path)
    (torn,) = epath.Path(tmp_path / "cache").glob("*/00000/00000003.png")
    torn.write_bytes(b"cut short")
    monkeypatch.setattr(packs, "_label", original)
    assert len(load("parquet", tmp_path)) == 6


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"image": FILES[:2]}, "of which none is that of classes"),
        ({"label": [0, 1]}, "of which none is that of images"),
        ({"image": [{"bytes": None, "path": "a.png"}], "label": [0]}, "row 1 names an image but"),
        ({"image": FILES[:2], "label": [1, 2]}, "subtract 1 from each"),
        ({"image": FILES[:1], "label": [[0.5]]}, "of which none is that of classes"),
        ({"image": FILES[:1], "label": [None]}, "of which none is that of classes"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_error(tmp_path, table, message):
    parquet.write_table(pa.table(table), tmp_path / "one.parquet")
    with pytest.raises(ValueError, match=message):
        load("parquet", tmp_path)


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_no_pack_and_a_damaged_one_are_clear_errors(tmp_path, kind):
    with pytest.raises(ValueError, match=r"set data\.data_dir to where they are"):
        load(kind, tmp_path)
    path = tmp_path / {"parquet": "a.parquet", "webdataset": "a.tar"}[kind]
    path.write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=rf"{path.name} cannot be read .*: fetch it again"):
        load(kind, tmp_path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"cannot be read|no image in them"):
        load(kind, tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.cls": b"1"}, "sample a has 0 images"),
        ({"a.png": FILES[0], "a.jpg": FILES[1], "a.cls": b"1"}, "sample a has 2 images"),
        ({"a.png": FILES[0], "a.json": b"{"}, "a.json cannot be read"),
        ({"a.png": FILES[0], "a.json": b'{"label": 1.5}'}, "has the label 1.5"),
        ({"a.png": FILES[0]}, "labels are none"),
    ],
)
def test_samples_that_cannot_be_meant_are_named(tmp_path, files, message):
    tar(tmp_path / "a.tar", files)
    with pytest.raises(ValueError, match=message):
        load("webdataset", tmp_path)
