"""The report is one well-formed, self-contained page that says what it was given."""

import base64
import html.parser
import io
import re
import xml.etree.ElementTree

import numpy as np
import pytest
from etils import epath
from PIL import Image

from dsh_jax.report import Curve, Gallery, write_report

VOID = {"br", "img", "meta", "source", "wbr"}
HOSTILE = "<script>alert('1')</script>&\""
EMPTY = {
    "metrics": {},
    "precision_recall": [],
    "precision_at": [],
    "galleries": {},
    "original": None,
    "decoded": None,
    "augmented": None,
    "history": [],
    "bit_mean": np.zeros(0),
}


class Page(html.parser.HTMLParser):
    """Collect elements and text; fail on a tag that is closed out of turn."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self._open = [], "", []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.text += data

    def every(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def _gallery(channels=1, label="cat"):
    rng = np.random.default_rng(0)
    return Gallery(
        query_image=rng.integers(0, 256, (2, 8, 6, channels), np.uint8),
        query_label=[label, "dog"],
        neighbour_image=rng.integers(0, 256, (2, 3, 8, 6, channels), np.uint8),
        neighbour_label=[["cat", "cat", label], ["dog", "cat", "dog"]],
        distance=np.array([[0, 17, 29], [3, 3, 41]]),
        relevant=np.array([[True, True, False], [True, False, True]]),
    )


def _contents(**changed):
    k = np.array([1, 10, 100])
    contents = {
        "title": "digits · 48 bits · intended",
        "summary": {"Data set": "digits", "Chance": "A random ranking has an mAP of 0.1."},
        "metrics": {
            "database=train": {"map": 0.91236, "precision_at_100": 0.95, "accuracy": 0.5},
            "database=unseen": {"map": 0.8},
        },
        "precision_recall": [Curve("database=train", np.linspace(0, 1, 49), np.ones(49))],
        "precision_at": [Curve("database=train", k, 1 / k), Curve("database=unseen", k, 0.5 / k)],
        "galleries": {"queries drawn at random": _gallery()},
        "original": np.zeros((4, 8, 6, 1), np.uint8),
        "decoded": np.full((4, 8, 6, 1), 255, np.uint8),
        "augmented": np.zeros((3, 5, 8, 6, 1), np.uint8),
        "history": [
            {"step": 0, "train/loss": 2.5, "train/balance": -0.1},
            {"step": 50, "train/loss": np.float32(1.5), "train/balance": 0.0, "valid/map": 0.7},
        ],
        "bit_mean": np.linspace(0.4, 0.625, 48),
        "config": {"model": {"bits": 48}, "shape": (8, 6), "dtype": np.dtype("float32")},
    }
    return contents | changed


def _write(folder, **changed):
    path = folder / "report.html"
    write_report(path, **_contents(**changed))
    return path.read_text(encoding="utf-8")


def _drawings(page):
    sources = [a["src"] for a in page.every("img")] + [a["srcset"] for a in page.every("source")]
    svg = "data:image/svg+xml;base64,"
    return [base64.b64decode(s.removeprefix(svg)).decode() for s in sources if s.startswith(svg)]


def test_page_is_well_formed_and_self_contained(tmp_path):
    text = _write(tmp_path)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert "http" not in text
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert "href" not in attributes
        for name in ("src", "srcset"):
            assert attributes.get(name, "data:").startswith("data:")
    assert all(attributes["alt"] for attributes in page.every("img"))
    assert all(attributes["scope"] in ("col", "row") for attributes in page.every("th"))
    # Two precision plots, three of the history, one of the bits; each light and dark.
    drawings = _drawings(page)
    assert len(drawings) == 2 * 6
    for drawing in drawings:
        xml.etree.ElementTree.fromstring(drawing)
        assert not re.search(r"(?<!xmlns)(?<!xmlns:xlink)=\"https?:", drawing)
        assert "url(http" not in drawing


def test_numbers_and_settings_appear(tmp_path):
    page = Page(_write(tmp_path))
    for words in (
        "digits · 48 bits · intended",
        "A random ranking has an mAP of 0.1.",
        "mAP (tie-aware, whole ranking)",
        "0.9124",
        "0.8000",
        "Precision at 100",
        "0.9500",
        "Accuracy",
        "d 41",
        "between 0.400 and 0.625",
        '"bits": 48',
        '"dtype": "float32"',
    ):
        assert words in page.text
    alts = " ".join(attributes["alt"] for attributes in page.every("img"))
    assert "from 2.5 at 0 to 1.5 at 50" in alts
    assert "neighbour 3: cat, distance 29, wrong" in alts
    assert "database=unseen" in "".join(_drawings(page))


def test_right_and_wrong_neighbours_are_marked_without_colour(tmp_path):
    text = _write(tmp_path, **EMPTY | {"galleries": {"queries drawn at random": _gallery()}})
    page = Page(text)
    classes = [attributes.get("class") for attributes in page.every("li")]
    marks = [a["aria-label"] for a in page.every("span") if a.get("class") == "mark"]
    expected = ["right", "right", "wrong", "right", "wrong", "right"]
    assert [name for name in classes if name in ("right", "wrong")] == expected
    assert marks == expected
    grid = page.text.split("Queries drawn at random")[1]
    assert (grid.count("✓"), grid.count("✗")) == (4, 2)
    assert ("2/3 right" in grid, "dashed" in text) == (True, True)


def test_every_text_is_escaped(tmp_path):
    curve = Curve(HOSTILE + r"$\bad$", np.array([1.0, 2.0]), np.array([0.5, 0.25]))
    text = _write(
        tmp_path,
        title=HOSTILE,
        summary={HOSTILE: HOSTILE},
        metrics={HOSTILE: {HOSTILE: 0.5}},
        precision_recall=[curve],
        precision_at=[curve],
        galleries={HOSTILE: _gallery(label=HOSTILE)},
        history=[{"step": 1, "train/" + HOSTILE: 0.5}],
        config={HOSTILE: HOSTILE},
    )
    page = Page(text)
    assert "<script" not in text
    assert "script" not in {tag for tag, _ in page.elements}
    assert f"query 1: {HOSTILE}" in [attributes["alt"] for attributes in page.every("img")]
    assert page.text.count(HOSTILE) >= 9
    for drawing in _drawings(page):
        tree = xml.etree.ElementTree.fromstring(drawing)
        assert not [node for node in tree.iter() if node.tag.endswith("script")]


def test_same_input_gives_same_bytes(tmp_path):
    one, two = (_write(tmp_path / name, history=[], precision_at=[]) for name in ("one", "two"))
    assert one == two


def test_written_whole_to_any_kind_of_path(tmp_path):
    for path in (tmp_path / "a" / "r.html", str(tmp_path / "b" / "r.html")):
        write_report(path, **_contents(**EMPTY))
        write_report(epath.Path(path), **_contents(title="second", **EMPTY))
        path = epath.Path(path)
        assert "<h1>second</h1>" in path.read_text(encoding="utf-8")
        assert [entry.name for entry in path.parent.iterdir()] == ["r.html"]


def test_empty_parts_are_left_out(tmp_path):
    full = re.findall("<h2>(.*?)</h2>", _write(tmp_path))
    text = _write(tmp_path, **EMPTY)
    page = Page(text)
    assert len(full) == 8
    assert re.findall("<h2>(.*?)</h2>", text) == ["Settings"]
    assert not page.every("img")
    assert not page.every("table")


@pytest.mark.parametrize("channels", [1, 3])
def test_images_keep_their_pixels(tmp_path, channels):
    gallery = _gallery(channels)
    page = Page(_write(tmp_path, **EMPTY | {"galleries": {"all": gallery}}))
    png = "data:image/png;base64,"
    sources = [a["src"].removeprefix(png) for a in page.every("img") if png in a["src"]]
    images = [np.array(Image.open(io.BytesIO(base64.b64decode(source)))) for source in sources]
    shown = np.stack(images).reshape(2, 4, 8, 6, channels)  # each query, then its neighbours
    np.testing.assert_array_equal(shown[:, 0], gallery.query_image)
    np.testing.assert_array_equal(shown[:, 1:], gallery.neighbour_image)


def test_large_images_are_stored_small_and_shown_smooth(tmp_path):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
    photograph = np.array(small.resize((120, 120), Image.Resampling.BICUBIC))
    text = _write(tmp_path, **EMPTY | {"augmented": photograph[None, None]})
    (image,) = Page(text).every("img")
    assert "--tile:96px;--rendering:auto" in text
    stored = base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,"))
    shown = np.array(Image.open(io.BytesIO(stored)), np.float32)
    assert np.abs(shown - photograph).mean() < 4
    assert len(stored) < 120 * 120


def test_long_labels_are_shortened_with_the_whole_in_the_tooltip(tmp_path):
    label = "sky, sea, clouds, tree, river & lake, night"
    text = _write(tmp_path, **EMPTY | {"galleries": {"all": _gallery(label=label)}})
    page = Page(text)
    titles = [attributes.get("title") for attributes in page.every("b")]
    assert titles.count(label) == 2  # a query and a neighbour
    assert titles.count(None) == len(titles) - 2  # short ones need no tooltip
    assert page.text.count("sky, sea, clouds, tree,\u00a0…") == 2
    assert "night" not in page.text
    assert f"query 1: {label}" in [attributes["alt"] for attributes in page.every("img")]


def test_four_labels_are_not_shortened(tmp_path):
    gallery = _gallery(label="sky, sea, clouds, tree")
    page = Page(_write(tmp_path, **EMPTY | {"galleries": {"all": gallery}}))
    assert page.text.count("sky, sea, clouds, tree") == 2
    assert "…" not in page.text


def test_augmented_images_stand_in_rows(tmp_path):
    image = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3, 1, 1, 1).repeat(4, 2).repeat(5, 3)
    page = Page(_write(tmp_path, **EMPTY | {"augmented": image}))
    alts = [attributes["alt"] for attributes in page.every("img")]
    assert alts == [f"image {i}{draw}" for i in (1, 2) for draw in ("", ", draw 1", ", draw 2")]
    png = "data:image/png;base64,"
    sources = [attributes["src"].removeprefix(png) for attributes in page.every("img")]
    shown = [np.array(Image.open(io.BytesIO(base64.b64decode(source)))) for source in sources]
    np.testing.assert_array_equal(np.stack(shown)[:, 0, 0], np.arange(6))


def test_values_that_are_no_numbers_are_drawn_as_gaps(tmp_path):
    broken = np.array([np.nan, 0.5, np.inf])
    nothing = Curve("nothing", np.zeros(0), np.zeros(0))
    text = _write(
        tmp_path,
        metrics={"database=train": {"map": float("nan")}},
        precision_recall=[Curve("database=train", broken, broken), nothing],
        precision_at=[Curve("database=train", np.array([1, 2, 3]), broken), nothing],
        history=[{"step": 0, "train/loss": float("nan")}],
    )
    assert "<td>nan</td>" in text
