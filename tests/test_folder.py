"""Folders of classes."""

import numpy as np
import photographs
import pytest

from dsh_jax.data import folder as module
from dsh_jax.data.folder import folder


def make(root, *names):
    photographs.write_many(root, names, size=(4, 4))
    return root


def test_each_folder_is_a_class_and_images_may_stand_deeper(tmp_path):
    make(
        tmp_path, "dog/b.jpg", "dog/old/a.PNG".lower(), "cat/c.jpeg", ".hidden/x.jpg", "dog/.y.jpg"
    )
    (tmp_path / "dog" / "notes.txt").write_text("")
    photographs.write(tmp_path / "loose.jpg")
    source = folder(tmp_path, image_size=4)
    assert source.images.name_N.tolist() == ["cat/c.jpeg", "dog/b.jpg", "dog/old/a.png"]
    assert source.label_names == ("cat", "dog")
    np.testing.assert_array_equal(source.label_NxC, [[1, 0], [0, 1], [0, 1]])
    assert source.official == {}
    assert not source.multilabel
    assert source.notes == (
        "1 files are no images by their endings.",
        "1 images are in no class, such as loose.jpg.",
    )


def test_folders_of_parts_are_the_official_split(tmp_path):
    make(tmp_path, *(f"{part}/{c}/{part}.jpg" for part in ("train", "test", "val") for c in "ab"))
    source = folder(tmp_path, image_size=4)
    assert source.label_names == ("a", "b")
    parts = {name: is_in.tolist() for name, is_in in source.official.items()}
    named = source.images.name_N.tolist()
    assert parts == {
        "train": [name.startswith("train") for name in named],
        "query": [name.startswith("test") for name in named],
    }


def test_endings_in_capitals_are_images(tmp_path):
    make(tmp_path, "a/x.jpg", "b/y.jpg")
    (tmp_path / "a" / "x.jpg").rename(tmp_path / "a" / "x.JPG")
    assert folder(tmp_path, image_size=4).images.name_N.tolist() == ["a/x.JPG", "b/y.jpg"]


def test_empty_classes_are_named(tmp_path):
    make(tmp_path, "a/x.jpg")
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "notes.txt").write_text("")
    with pytest.raises(
        ValueError, match=r"class folders without an image \(\.jpg, .*\): b, c: fill"
    ):
        folder(tmp_path, image_size=4)


def test_classes_of_the_parts_must_agree(tmp_path):
    make(tmp_path, "train/a/x.jpg", "train/b/x.jpg", "query/a/y.jpg")
    with pytest.raises(ValueError, match="query and train do not have the same classes; b are in"):
        folder(tmp_path, image_size=4)
    (tmp_path / "query" / "b").mkdir()
    with pytest.raises(ValueError, match=r"without an image .*: query/b: fill"):
        folder(tmp_path, image_size=4)


def test_a_folder_without_classes_says_what_is_wanted(tmp_path):
    make(tmp_path, "x.jpg")
    with pytest.raises(
        ValueError, match="has no sub-folders: wanted is one folder of images a class"
    ):
        folder(tmp_path, image_size=4)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    make(tmp_path, "a/x.jpg", "b/y.jpg")
    walk = module.os.walk

    def refusing(root, onerror, **options):
        yield from walk(root, onerror=onerror, **options)
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "b")))

    monkeypatch.setattr(module.os, "walk", refusing)
    with pytest.raises(
        ValueError, match=r"b cannot be read \(Permission denied\): check data.data_dir"
    ):
        folder(tmp_path, image_size=4)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none cannot be read \(No such file or directory\)"):
        folder(tmp_path / "none", image_size=4)
