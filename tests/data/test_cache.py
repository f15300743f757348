"""Decoded photographs are kept where that is asked for, and are the same everywhere."""

import dataclasses
import os

import numpy as np
import photographs
import pytest
import tiny

from dsh_jax.data import cache
from dsh_jax.data.files import file_source
from dsh_jax.data.images import ArrayImages, FileImages
from dsh_jax.data.source import multi_hot

NAMES = [f"{row}.jpg" for row in range(5)]
EVERY = np.arange(5)


@pytest.fixture
def source(tmp_path):
    """Five pictures of one colour each."""
    photographs.write_many(tmp_path / "images", NAMES)
    label = multi_hot(EVERY % 2, 2)
    return file_source(
        "pets", tmp_path / "images", NAMES, label, "ab", official={}, multilabel=False, image_size=8
    )


@pytest.mark.parametrize("kind", ["auto", "memory", "disk", "none"])
def test_every_cache_gives_the_same_images_and_names(source, tmp_path, kind):
    found = cache.cached(source, cache=kind, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(found.images.take(EVERY), source.images.take(EVERY))
    assert found.images.name_N.tolist() == NAMES
    assert found.fingerprint == source.fingerprint
    assert isinstance(found.images, FileImages if kind == "none" else ArrayImages)


def test_auto_decodes_on_use_what_memory_cannot_hold(source, monkeypatch):
    monkeypatch.setattr(cache, "MEMORY", 5 * 8 * 8 * 3 - 1)
    assert isinstance(cache.cached(source).images, FileImages)
    monkeypatch.setattr(cache, "MEMORY", 5 * 8 * 8 * 3)
    assert isinstance(cache.cached(source).images, ArrayImages)


def test_a_file_on_disk_is_used_again_until_the_images_change(source, tmp_path, monkeypatch):
    where = {"cache": "disk", "cache_dir": tmp_path / "cache"}
    first = cache.cached(source, **where)
    assert isinstance(first.images.image_NxHxWxC, np.memmap)
    with monkeypatch.context() as context:
        context.setattr(cache, "decode_all", None)  # calling it would fail
        np.testing.assert_array_equal(
            cache.cached(source, **where).images.take(EVERY), first.images.take(EVERY)
        )
    photographs.write(tmp_path / "images" / NAMES[0], 4)
    os.utime(tmp_path / "images" / NAMES[0], ns=(0, 1))
    changed = cache.cached(source, **where).images.take(EVERY)
    np.testing.assert_array_equal(changed[0], changed[4])
    small = dataclasses.replace(source, images=dataclasses.replace(source.images, side=4))
    assert cache.cached(small, **where).images.shape == (4, 4, 3)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 3


def test_an_interrupted_decoding_leaves_no_file(source, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "decode_all", stopped)
    with pytest.raises(KeyboardInterrupt):
        cache.cached(source, cache="disk", cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("kind", ["memory", "disk", "none"])
def test_corrupt_files_are_left_out_only_where_that_is_asked_for(source, tmp_path, kind):
    where = {"cache": kind, "cache_dir": tmp_path / "cache"}
    (tmp_path / "images" / NAMES[1]).write_bytes(b"")
    for _ in range(2):  # the second time from the file on disk
        found = cache.cached(source, skip="corrupt", **where)
        assert found.images.name_N.tolist() == [*NAMES[:1], *NAMES[2:]]
        np.testing.assert_array_equal(found.label_NxC, source.label_NxC[[0, 2, 3, 4]])
        wanted = source.images.take(np.array([0, 2, 3, 4]))
        np.testing.assert_array_equal(found.images.take(np.arange(4)), wanted)
        assert found.notes == ("Left out: 1 of 5 files cannot be read or decoded: 1.jpg.",)
    if kind != "none":  # which meets it only when it is read
        with pytest.raises(ValueError, match=r"cannot be read .*: 1.jpg.*data.skip=corrupt"):
            cache.cached(source, **where)


def test_arrays_stay_as_they_are():
    source = tiny.source()
    assert cache.cached(source, cache="memory") is source


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache": "ram"}, "data.cache is 'ram'; it must be 'auto', 'memory', 'disk' or 'none'"),
        ({"cache": "disk"}, "data.cache is 'disk', but data.cache_dir is empty: name a folder"),
    ],
)
def test_errors_say_what_to_do(source, options, message):
    with pytest.raises(ValueError, match=message):
        cache.cached(source, **options)
