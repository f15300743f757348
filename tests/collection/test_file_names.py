"""A folder and a list name their images in a known order, and nothing outside of them."""

import os

import pytest

from dsh_jax.collection import file_names


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_a_folder_is_searched_in_sorted_order(tmp_path):
    touch(tmp_path, "b.PNG", "a/2.jpg", "a/10.webp", "a.tiff", "c/d/e.gif", "notes.txt", "x.eps")
    (tmp_path / "loop").symlink_to(tmp_path)
    names, others = file_names.of_folder(tmp_path)
    assert names == ["a.tiff", "a/10.webp", "a/2.jpg", "b.PNG", "c/d/e.gif"]
    assert others == ["notes.txt", "x.eps"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_names.of_folder(tmp_path / "none")


def write_list(folder, *lines):
    path = folder / "list.txt"
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else os.fsencode(line) for line in lines)
    )
    return path


def test_a_list_keeps_its_order(tmp_path):
    inside = str(tmp_path / "d.png")
    path = write_list(
        tmp_path, b"\xef\xbb\xbfz.jpg", "", "./a b/../c.txt\r", inside, b"\xff.jpg", "#1.png"
    )
    wanted = ["z.jpg", "c.txt", "d.png", os.fsdecode(b"\xff.jpg"), "#1.png"]
    assert file_names.of_list(path) == wanted


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../secret.png", r"line 2: ../secret.png is outside of .*: write it in full and"),
        ("a/../../secret.png", "is outside of"),
        ("/etc/secret.png", "line 2: /etc/secret.png is outside of .*: pass --allow_outside"),
        (".", "is outside of"),
        ("./a.png", "line 2: a.png is in line 1 already"),
        ("x\0.png", "line 2 is no text"),
    ],
)
def test_bad_lines_are_named(line, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        file_names.of_list(write_list(tmp_path, "a.png", line))


def test_only_absolute_paths_may_be_allowed_outside(tmp_path):
    path = write_list(tmp_path, "/etc/x/../secret.png")
    assert file_names.of_list(path, allow_outside=True) == ["/etc/secret.png"]
    with pytest.raises(ValueError, match="is outside of"):
        file_names.of_list(write_list(tmp_path, "../x.png"), allow_outside=True)


def test_a_folder_beside_it_with_the_same_beginning_is_outside(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match="is outside of"):
        file_names.of_list(write_list(tmp_path / "a", "../ab/x.png"))


def test_names_are_printed_without_harm():
    assert file_names.printable("ü 1.jpg") == "ü 1.jpg"
    assert file_names.printable("a\x1b[2J\n") == r"a\x1b[2J\n"
    assert file_names.printable(os.fsdecode(b"\xff")) == r"\udcff"
