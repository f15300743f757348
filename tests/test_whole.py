"""A file has its name only when it is whole; until then the one before it stays."""

import numpy as np
import pytest

from dsh_jax import whole


def write_and_stop(path):
    with whole.opened(path) as file:
        file.write(b"ne")
        raise KeyboardInterrupt


def test_what_is_stopped_leaves_the_file_before_it(tmp_path):
    path = tmp_path / "a.bin"
    whole.write_text(path, "Köln")
    with pytest.raises(KeyboardInterrupt):
        write_and_stop(path)
    assert [path] == list(tmp_path.iterdir())
    assert path.read_text(encoding="utf-8") == "Köln"
    with whole.opened(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text(encoding="utf-8") == "Köln"
    assert path.read_bytes() == b"new"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        whole.write_text(tmp_path / "missing" / "a.txt", "")


def test_who_has_mapped_the_file_before_keeps_it(tmp_path):
    path, before = tmp_path / "a.npy", np.arange(5000)
    np.save(path, before)
    mapped = np.load(path, mmap_mode="r")
    with whole.opened(path) as file:
        np.save(file, mapped[::-1])
    np.testing.assert_array_equal(mapped, before)
    np.testing.assert_array_equal(np.load(path), before[::-1])
