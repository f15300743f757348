"""A folder a class, with and without parts of the split."""

import os

import numpy as np
import pytest
from PIL import Image

from dsh_jax.data.folder import folder
from dsh_jax.data.protocols import make_split


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.lower().endswith(("jpg", "png", "gif", "bmp", "jpeg")):
            Image.new("RGB", (8, 6), "red").save(path)
        else:
            path.touch()
    return root


def test_each_folder_is_a_class(tmp_path):
    write(tmp_path, "dog/1.jpg", "cat/2.PNG", "cat/deep/er/0.gif", "Owl/9.bmp", "cat/1.JPEG")
    source = folder(tmp_path, image_size=4)
    assert source.label_names == ("Owl", "cat", "dog")
    names = ["Owl/9.bmp", "cat/1.JPEG", "cat/2.PNG", "cat/deep/er/0.gif", "dog/1.jpg"]
    assert source.images.name_N.tolist() == names
    np.testing.assert_array_equal(source.label_NxC.argmax(1), [0, 1, 1, 1, 2])
    np.testing.assert_array_equal(source.label_NxC.sum(1), np.ones(5))
    assert not source.multilabel
    assert source.official == {}
    assert source.notes == ()
    assert source.images.take(np.arange(5)).shape == (5, 4, 4, 3)


def test_other_files_are_counted_and_hidden_ones_ignored(tmp_path):
    write(tmp_path, "cat/1.jpg", "dog/1.jpg", "cat/Thumbs.db", "README.md", "loose.jpg")
    write(tmp_path, ".git/1.jpg", "cat/._1.jpg", ".DS_Store", "cat/.deep/2.jpg")
    source = folder(tmp_path, image_size=4)
    assert source.images.name_N.tolist() == ["cat/1.jpg", "dog/1.jpg"]
    assert source.notes == (
        "2 files are no images by their endings: 1 .db, 1 .md.",
        "1 images are in no class, such as loose.jpg.",
    )


def test_every_ending_that_encoding_reads_is_read(tmp_path):
    for name in ("a.webp", "b.tif", "c.TIFF", "d.mpo", "e.avif", "f.pgm", "g.jp2", "h.jfif"):
        write(tmp_path, f"cat/{name}", f"dog/{name}")
    write(tmp_path, "cat/x.txt", "cat/y.txt", "dog/z.psdx", "dog/none")
    source = folder(tmp_path, image_size=4)
    assert len(source) == 16
    assert source.notes == (
        "4 files are no images by their endings: 2 .txt, 1 without any, 1 .psdx.",
    )


def test_what_was_left_out_is_said_where_rows_are_too_few(tmp_path):
    write(tmp_path, *(f"{name}/{row}.jpg" for name in ("cat", "dog") for row in range(5)))
    write(tmp_path, *(f"{name}/{row}.psdx" for name in ("cat", "dog") for row in range(20)))
    source = folder(tmp_path, image_size=4)
    options = {"protocol": "random", "seed": 0, "validation": 0.0, "unseen": 0.0}
    message = r"only .* rows can be drawn: .* 40 files are no images by their endings: 40 \.psdx\."
    with pytest.raises(ValueError, match=message):
        make_split(source, queries=2, train_rows=30, **options)


def test_what_is_in_an_empty_class_is_said(tmp_path):
    write(tmp_path, "cat/1.jpg", "cat/2.txt", "dog/1.psdx", "dog/deep/2.psdx", "dog/3.doc")
    message = r"dog: fill or remove them\. In them, 3 files are no images .*: 2 \.psdx, 1 \.doc\."
    with pytest.raises(ValueError, match=message):
        folder(tmp_path, image_size=4)


def test_a_pipe_is_no_image_and_is_not_waited_for(tmp_path):
    write(tmp_path, "cat/1.jpg", "dog/1.jpg")
    os.mkfifo(tmp_path / "dog/2.jpg")
    with pytest.raises(ValueError, match=r"1 of 3 files are missing: dog/2\.jpg"):
        folder(tmp_path, image_size=4)


def test_links_to_folders_are_followed(tmp_path):
    write(tmp_path / "elsewhere", "1.jpg", "deep/2.jpg")
    write(tmp_path / "data", "cat/1.jpg")
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere")
    assert len(folder(tmp_path / "data", image_size=4)) == 3


@pytest.mark.parametrize("query", ["test", "query"])
def test_folders_of_parts_are_official(tmp_path, query):
    write(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg", "val/dog/1.jpg")
    write(tmp_path, "database/cat/deep/1.jpg", "database/dog/1.jpg", "train/loose.jpg")
    write(tmp_path, f"{query}/cat/1.jpg", f"{query}/dog/1.jpg")
    source = folder(tmp_path, image_size=4)
    assert source.label_names == ("cat", "dog")
    assert len(source) == 8
    np.testing.assert_array_equal(source.label_NxC[:, 0], [1, 0] * 4)
    assert set(source.official) == {"train", "database", "query"}
    top = np.array([name.split("/")[0] for name in source.images.name_N])
    for part, name in {"train": "train", "database": "database", "query": query}.items():
        np.testing.assert_array_equal(source.official[part], top == name)
    assert source.notes == ("1 images are in no class, such as train/loose.jpg.",)


def test_test_and_query_together_are_the_queries(tmp_path):
    write(tmp_path, "test/cat/1.jpg", "query/cat/2.jpg", "train/cat/3.jpg")
    np.testing.assert_array_equal(
        folder(tmp_path, image_size=4).official["query"], [True, True, False]
    )


def test_a_class_may_have_the_name_of_a_part(tmp_path):
    write(tmp_path, "train/1.jpg", "plane/1.jpg")
    source = folder(tmp_path, image_size=4)
    assert source.label_names == ("plane", "train")
    assert source.official == {}


# Errors.


def test_classes_without_images_are_named(tmp_path):
    write(tmp_path, "cat/1.jpg", "dog/notes.txt", "owl/.hidden.jpg")
    with pytest.raises(ValueError, match=r"class folders without an image \(.jpg.*\): dog, owl"):
        folder(tmp_path, image_size=4)


def test_classes_without_images_in_a_part_are_named(tmp_path):
    write(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg", "test/dog/1.txt")
    with pytest.raises(ValueError, match=r"class folders without an image .*: test/dog: fill"):
        folder(tmp_path, image_size=4)


def test_parts_with_different_classes_are_refused(tmp_path):
    write(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg", "test/owl/1.jpg")
    with pytest.raises(ValueError, match="test and train do not have the same classes; dog, owl"):
        folder(tmp_path, image_size=4)


@pytest.mark.parametrize("name", ["1.jpg", "train/1.jpg"])
def test_images_without_class_folders_are_refused(tmp_path, name):
    write(tmp_path, name)
    with pytest.raises(ValueError, match="has no sub-folders: wanted is one folder of images a"):
        folder(tmp_path, image_size=4)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere cannot be read \(No such file or directory\)"):
        folder(tmp_path / "nowhere", image_size=4)


@pytest.mark.parametrize("target", [".", "cat", "cat/deep", "dog"])
def test_links_that_lead_in_a_circle_are_refused(tmp_path, target):
    write(tmp_path, "cat/deep/1.jpg", "dog/1.jpg")
    (tmp_path / "dog" / "back").symlink_to(tmp_path / "cat")
    (tmp_path / "cat" / "deep" / "again").symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match=r"links to a folder that it is in, .* remove the link"):
        folder(tmp_path, image_size=4)


def test_names_that_are_not_utf_8_are_refused(tmp_path):
    write(tmp_path, "cat/1.jpg", "cat/caf\udce9.jpg")
    message = r"the names of 1 images are not UTF-8, such as 'cat/caf\\udce9.jpg': rename them"
    with pytest.raises(ValueError, match=message):
        folder(tmp_path, image_size=4)


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    write(tmp_path, "cat/1.jpg", "cat/closed/2.jpg", "dog/1.jpg")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(ValueError, match=r"cat/closed cannot be read \(Permission denied\): check"):
        folder(tmp_path, image_size=4)
