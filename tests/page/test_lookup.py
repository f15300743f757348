"""What the page shows of a file: its code, its neighbours, or why there are none."""

import dataclasses
import functools
import shutil

import numpy as np
import pytest
import tiny
from html_pages import Page
from PIL import Image

from dsh_jax.collection import file_state, image_codes
from dsh_jax.page.lookup import Lookup
from dsh_jax.runs import exported, reconstruction

NAMES = ("<b>&.png", "b.png", "c.png", "d.png")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for row, name in enumerate(NAMES):
        pixels = np.random.default_rng(row).integers(0, 256, (32, 40), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def lookup(run, folder, root):
    encoder = exported.of_run(tiny.config(), run, folder)
    found = [encoder.read(str(root / name)) for name in NAMES]
    return Lookup(
        name="tiny",
        encoder=encoder,
        decode=functools.partial(reconstruction.rebuild, run.model, encoder.variables),
        no_decoder="",
        index=encoder.codes_of(NAMES, found, batch=8, root=str(root)),
        no_index="",
        root=str(root),
        k=3,
    )


def changed(lookup, **values):
    return dataclasses.replace(lookup, **values)


def test_a_file_has_three_pictures_and_the_code_of_the_encoder(lookup, root):
    packed, shown = lookup.look(str(root / NAMES[0]), NAMES[0])
    np.testing.assert_array_equal(packed, lookup.index.packed_NxW[:1])
    page = Page(shown)
    images = [attrs["alt"] for tag, attrs in page.tags if tag == "img"]
    assert images == [NAMES[0], "network input", "reconstruction"]
    assert {NAMES[0], "40×32 pixels", "32×32 pixels"} <= set(page.words)


def test_neighbours_have_distances_and_the_bits_that_differ(lookup):
    packed = lookup.index.packed_NxW[1:2]
    page = Page(lookup.found(packed, 12))
    distance = np.bitwise_count(packed ^ lookup.index.packed_NxW).sum(axis=1)
    order = np.argsort(distance, kind="stable")[:3]
    assert [word for word in page.words if word in NAMES] == [NAMES[row] for row in order]
    said = [int(word[2:]) for word in page.words if word.startswith("d ") and word[2:].isdigit()]
    assert said == distance[order].tolist()
    labels = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert len(labels) == 4  # the query's and its neighbours'
    marked = [int(text.split()[-2]) if "differ" in text else 0 for text in labels[1:]]
    assert marked == distance[order].tolist()
    assert f"Bytes: {packed.tobytes().hex(' ')}" in "".join(page.words)


def test_neighbours_that_have_vanished_are_marked(lookup, root, tmp_path):
    states = {name: file_state.read(str(root / name))[0] for name in NAMES}
    shutil.copytree(root, tmp_path / "copy")
    (tmp_path / "copy" / NAMES[1]).unlink()
    (tmp_path / "copy" / NAMES[2]).write_bytes((root / NAMES[3]).read_bytes())
    index = image_codes.with_states(lookup.index, states)
    looked = changed(lookup, index=index, root=str(tmp_path / "copy"), k=4)
    words = Page(looked.found(index.packed_NxW[1:2], 12)).words
    assert words.count("vanished: there is no such file") == 1
    assert words.count("changed since it was encoded") == 1


def test_fewer_bits_rank_by_them_and_are_marked_in_the_table(lookup):
    page = Page(lookup.found(lookup.index.packed_NxW[:1], 5))
    assert "Nearest, by the first 5 of 12 bits" in page.words
    rows = [attrs.get("class") for tag, attrs in page.tags if tag == "tr"]
    assert rows == [None, "", "", "chosen", "", "", ""]  # 1, 3, 5, 6, 9 and 12 bits
    assert all(", 5 used" in attrs["aria-label"] for tag, attrs in page.tags if tag == "svg")


def test_lengths_beyond_the_code_are_brought_to_it(lookup):
    packed = lookup.index.packed_NxW[:1]
    assert lookup.found(packed, 99) == lookup.found(packed, 12)
    assert lookup.found(packed, 0) == lookup.found(packed, 1)


def test_without_neighbours_or_decoder_the_reason_is_shown(lookup, root):
    packed = lookup.index.packed_NxW[:1]
    encoder = lookup.encoder
    empty = image_codes.empty(bits=encoder.bits, fingerprint=encoder.fingerprint)
    emptied = changed(lookup, index=empty, decode=None, no_decoder="None <here>.")
    assert not emptied.is_searchable
    assert (
        "The index holds no images: encode some into it first."
        in Page(emptied.found(packed, 12)).words
    )
    assert "0 images in the index." in "".join(Page(emptied.heading()).words)
    assert "None <here>." in Page(emptied.look(str(root / "b.png"), "b.png")[1]).words
    without = changed(lookup, index=None, no_index="There is no index.")
    assert "There is no index." in Page(without.found(packed, 12)).words
    assert "There is no index." in "".join(Page(without.heading()).words)


@pytest.mark.parametrize("data", [b"", b"<script>text", b"\x89PNG\r\n\x1a\n torn"])
def test_a_file_without_an_image_is_refused_in_words(data, lookup, tmp_path):
    path = tmp_path / "<i>.png"
    path.write_bytes(data)
    packed, shown = lookup.look(str(path), path.name)
    assert packed is None
    page = Page(shown)
    assert [tag for tag, _ in page.tags] == ["div", "p"]
    assert page.words[0].startswith("<i>.png: it is ")


def test_too_many_pixels_are_refused_before_they_are_decoded(lookup, root, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1279)
    packed, shown = lookup.look(str(root / "b.png"), "b.png")
    assert packed is None
    assert "b.png: it has too many pixels: " in shown


def test_an_index_of_another_model_is_refused(lookup):
    with pytest.raises(ValueError, match="distances between their codes mean nothing"):
        changed(lookup, index=lookup.index._replace(fingerprint="f" * 16))
