"""The report is one well-formed, self-contained page that says what it was given."""

import base64
import dataclasses
import html.parser
import io
import re
import xml.etree.ElementTree

import numpy as np
import pytest
from etils import epath
from PIL import Image

from dsh_jax.evaluation.by_class import ClassScore
from dsh_jax.evaluation.confusion import Confusion
from dsh_jax.plots import Curve
from dsh_jax.report import code_statistics, tables
from dsh_jax.report.document import write_report
from dsh_jax.report.images import Gallery, Rebuilt
from dsh_jax.report.other_data import CrossDomain, load, save

VOID = {"br", "img", "meta", "source", "wbr"}
HOSTILE = "<script>alert('1')</script>&\""
EMPTY = {
    "metrics": {},
    "precision_recall": [],
    "precision_at": [],
    "by_class": [],
    "confusion": None,
    "planes": [],
    "bit_mean": np.zeros(0),
    "bits": {},
    "galleries": {},
    "cross_domain": [],
    "rebuilt": None,
    "augmented": None,
    "history": [],
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


def _confusion(classes=2):
    rng = np.random.default_rng(0)
    share_CxC = rng.dirichlet(np.full(classes, 0.1), classes)
    names = ["cat", "dog", *(f"class {c}" for c in range(2, classes))]
    return Confusion(share_CxC, np.full(classes, 1 / classes), names, "Of the 10 nearest.")


def _plane(names=("cat", "dog")):
    bit = np.array([[0, 0, 1], [0, 0, 1], [1, 1, 1], [1, 0, 0]], np.uint8)
    return code_statistics.plane(bit, np.eye(2, dtype=np.uint8)[[0, 0, 1, 1]], names)


def _cross(data="other", step=8):
    unmarked = dataclasses.replace(_gallery(), relevant=None)
    return CrossDomain(
        data=data,
        step=step,
        facts={"Trained on": "digits alone"},
        metrics={"database=train": {"map": 0.31234, "chance": 0.11, "recall_within_radius_2": 0.7}},
        galleries={"other among other": _gallery(), "other among digits": unmarked},
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
        "by_class": [
            ClassScore("dog", 1, 0.5, np.nan, np.nan),
            ClassScore("cat", 9, 0.8, 0.7, 0.9),
        ],
        "confusion": _confusion(),
        "planes": [_plane()],
        "bit_mean": np.linspace(0.4, 0.625, 48),
        "bits": {"dead_bits": 3.0, "bit_entropy": 0.98765, "quantization_gap": 0.02},
        "galleries": {"queries drawn at random": _gallery()},
        "cross_domain": [_cross()],
        "rebuilt": Rebuilt(
            np.zeros((4, 8, 6, 1), np.uint8), np.full((4, 8, 6, 1), 255, np.uint8), "the <net>"
        ),
        "augmented": np.zeros((3, 5, 8, 6, 1), np.uint8),
        "history": [
            {"step": 0, "train/loss": 2.5, "train/balance": -0.1},
            {"step": 50, "train/loss": np.float32(1.5), "train/balance": 0.0, "valid/map": 0.7},
        ],
        "config": {"model": {"bits": 48}, "shape": (8, 6), "dtype": np.dtype("float32")},
    }
    return contents | changed


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("whole"))


def _write(folder, **changed):
    path = folder / "report.html"
    write_report(path, **_contents(**changed))
    return path.read_text(encoding="utf-8")


def _drawings(page):
    sources = [a["src"] for a in page.every("img")] + [a["srcset"] for a in page.every("source")]
    svg = "data:image/svg+xml;base64,"
    return [base64.b64decode(s.removeprefix(svg)).decode() for s in sources if s.startswith(svg)]


def test_page_is_well_formed_and_self_contained(text):
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert "http" not in text
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert attributes.get("href", "#").startswith("#")
        for name in ("src", "srcset"):
            assert attributes.get(name, "data:").startswith("data:")
    assert all(attributes["alt"] for attributes in page.every("img"))
    assert all(attributes["scope"] in ("col", "row") for attributes in page.every("th"))
    # Precision twice, confusion, codes, bits, three of the history; each light and dark.
    drawings = _drawings(page)
    assert len(drawings) == 2 * 8
    for drawing in drawings:
        xml.etree.ElementTree.fromstring(drawing)
        assert not re.search(r"(?<!xmlns)(?<!xmlns:xlink)=\"https?:", drawing)
        assert "url(http" not in drawing


def test_numbers_and_settings_appear(text):
    page = Page(text)
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
        confusion=dataclasses.replace(_confusion(), names=[HOSTILE, "b"], note=HOSTILE),
        planes=[_plane([HOSTILE, "b"])],
        bits={HOSTILE: 0.5},
        galleries={HOSTILE: _gallery(label=HOSTILE)},
        cross_domain=[CrossDomain(HOSTILE, 1, {HOSTILE: HOSTILE}, {HOSTILE: {HOSTILE: 1.0}}, {})],
        history=[{"step": 1, "train/" + HOSTILE: 0.5}],
        config={HOSTILE: HOSTILE},
    )
    page = Page(text)
    assert "<script" not in text
    assert "script" not in {tag for tag, _ in page.elements}
    assert f"query 1: {HOSTILE}" in [attributes["alt"] for attributes in page.every("img")]
    assert page.text.count(HOSTILE) >= 16
    for drawing in _drawings(page):
        tree = xml.etree.ElementTree.fromstring(drawing)
        assert not [node for node in tree.iter() if node.tag.endswith("script")]


def test_every_section_has_a_link(text):
    page = Page(text)
    links = [attributes["href"].removeprefix("#") for attributes in page.every("a")]
    assert links == [attributes["id"] for attributes in page.every("section")]
    assert len(set(links)) == len(re.findall("<h2>", text)) == 11


def test_classes_have_their_map_and_its_interval(text):
    section = text.split("<h2>Classes of the queries</h2>")[1].split("</section>")[0]
    dog, cat = re.findall('<tr>(<th scope="row">.*?)</tr>', section)
    assert re.findall("<td>(.*?)</td>", dog) == ["1", "0.5000", ""]
    assert re.findall("<td>(.*?)</td>", cat) == ["9", "0.8000", "0.7000 to 0.9000"]


def test_same_input_gives_same_bytes(text, tmp_path):
    assert _write(tmp_path) == text


def test_written_whole_to_any_kind_of_path(tmp_path):
    for path in (tmp_path / "a" / "r.html", str(tmp_path / "b" / "r.html")):
        write_report(path, **_contents(**EMPTY))
        write_report(epath.Path(path), **_contents(title="second", **EMPTY))
        path = epath.Path(path)
        assert "<h1>second</h1>" in path.read_text(encoding="utf-8")
        assert [entry.name for entry in path.parent.iterdir()] == ["r.html"]


def test_empty_parts_are_left_out(text, tmp_path):
    full = re.findall("<h2>(.*?)</h2>", text)
    text = _write(tmp_path, **EMPTY)
    page = Page(text)
    assert full == [
        *("Retrieval", "Precision", "Classes of the queries", "Classes among the neighbours"),
        *("Codes", "Training"),
        *("Queries and their nearest database images", "Images of other data sets"),
        *("Reconstructions", "Augmented training images", "Settings"),
    ]
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
    small = np.array(Image.fromarray(photograph).resize((96, 96)), np.float32)
    assert np.abs(shown - small).mean() < 4
    assert len(stored) < 96 * 96


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
        **EMPTY
        | {
            "metrics": {"database=train": {"map": float("nan")}},
            "precision_recall": [Curve("database=train", broken, broken), nothing],
            "precision_at": [Curve("database=train", np.array([1, 2, 3]), broken), nothing],
            "history": [{"step": 0, "train/loss": float("nan")}],
        },
    )
    assert "<td>nan</td>" in text


def test_every_share_of_a_small_confusion_is_a_number(tmp_path):
    shares = np.array([[0.975, 0.025], [np.nan, np.nan]])
    shown = dataclasses.replace(_confusion(), share_CxC=shares)
    text = _write(tmp_path, **EMPTY | {"confusion": shown})
    assert '<th scope="row">cat</th><td>97.5</td><td>2.5</td>' in text
    assert '<th scope="row">dog</th><td></td><td></td>' in text  # no query has the class
    assert "Of the 10 nearest." in text
    (alt,) = [attributes["alt"] for attributes in Page(text).every("img")]
    assert "the query's own class has 0.975 to 0.975" in alt


@pytest.mark.parametrize(("classes", "rows"), [(20, 20), (21, tables.PAIRS)])
def test_of_many_classes_the_most_confused_are_numbers(tmp_path, classes, rows):
    shown = _confusion(classes)
    text = _write(tmp_path, **EMPTY | {"confusion": shown})
    assert text.count('<th scope="row">') == rows
    assert ("In the database, %" in text) == (classes > 20)
    if classes > 20:
        wrong = np.where(np.eye(classes, dtype=bool), 0, shown.share_CxC)
        i, j = np.unravel_index(wrong.argmax(), wrong.shape)
        names = f'<th scope="row">{shown.names[i]}</th><td>{shown.names[j]}</td>'
        largest = f"{names}<td>{100 * wrong.max():.1f}</td><td>4.8</td>"
        assert text.index(largest) == text.index('<th scope="row">')


def test_numbers_of_bits_stand_in_one_order(tmp_path):
    page = Page(
        _write(tmp_path, **EMPTY | {"bits": {"b": 1.0, "dead_bits": 3.0, "bit_entropy": 0.98765}})
    )
    numbers = page.text.split("queries")[1].strip().split("\n")
    assert numbers[:3] == ["Entropy of a bit, mean (1 is best)0.9877", "Dead bits3", "B1.0000"]


def test_other_data_sets_have_their_mean_average_precision_beside_chance(tmp_path):
    page = Page(_write(tmp_path, **EMPTY | {"cross_domain": [_cross()]}))
    for words in ("digits alone", "0.3123", "0.1100", "Other among other", "Other among digits"):
        assert words in page.text
    assert "Recall within radius 2" not in page.text  # it is in the file of the numbers
    # Of neighbours with other labels nothing is said but what they are.
    marks = [attributes for attributes in page.every("span") if attributes.get("class") == "mark"]
    classes = [attributes.get("class") for attributes in page.every("li")]
    assert (len(marks), classes.count("unmarked")) == (6, 6)
    assert page.text.count("2/3 right") == 2


def test_kept_results_of_other_data_sets_come_back(tmp_path):
    folder = epath.Path(tmp_path)
    path = save(folder, _cross("a/b"))
    assert path.name == "on_a-b.json"
    save(folder, _cross("old", step=7))
    (found,) = load(folder, 8)
    expected = _cross("a/b")
    assert (found.data, found.facts, found.metrics) == ("a/b", expected.facts, expected.metrics)
    assert list(found.galleries) == list(expected.galleries)
    for one, other in zip(found.galleries.values(), expected.galleries.values(), strict=True):
        for name, value in vars(other).items():
            np.testing.assert_array_equal(getattr(one, name), value)
    assert found.galleries["other among digits"].relevant is None
    assert load(folder / "elsewhere", 8) == []


def test_codes_stand_in_the_plane_of_their_greatest_variance():
    shown = _plane()
    # The two images with one code and class are one mark.
    np.testing.assert_array_equal(np.sort(shown.count_M), [1, 1, 2])
    double = shown.point_Mx2[shown.count_M == 2]
    others = shown.point_Mx2[shown.count_M == 1]
    # Two axes hold all the variance of three codes, so distances are those of the codes.
    squared = ((others - double) ** 2).sum(axis=1)
    np.testing.assert_allclose(np.sort(squared), [2, 2], rtol=1e-6)
    assert sum(shown.explained) == pytest.approx(1)
    np.testing.assert_allclose((shown.point_Mx2 * shown.count_M[:, None]).sum(axis=0), 0, atol=1e-6)


def test_plane_shows_the_most_frequent_classes_and_an_image_by_its_rarest():
    label = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0],
                      [0, 1, 0, 0]], np.uint8)  # fmt: skip
    bit = np.eye(6, dtype=np.uint8)
    shown = code_statistics.plane(bit, label, list("abcd"), most=2)
    assert shown.names == ["a", "b"]
    # The codes are sorted: the last row is the first of them.
    np.testing.assert_array_equal(shown.class_M, [1, -1, 0, 1, 1, 0])


def test_codes_that_are_all_the_same_have_no_plane_and_one_bit_has_a_line():
    label = np.ones((3, 1), np.uint8)
    assert code_statistics.plane(np.ones((3, 5), np.uint8), label, ["a"]) is None
    line = code_statistics.plane(np.array([[0], [1], [1]], np.uint8), label, ["a"])
    assert line.explained == (1, 0)
    assert (line.point_Mx2[:, 1] == 0).all()


def test_tsne_keeps_near_codes_near_and_is_the_same_every_time(tmp_path):
    rng = np.random.default_rng(0)
    which = np.arange(60) % 3
    bit = rng.integers(0, 2, (3, 32))[which] ^ (rng.random((60, 32)) < 0.02)
    label = np.eye(3, dtype=np.uint8)[which]
    shown, again = (code_statistics.plane(bit, label, list("abc"), tsne=True) for _ in range(2))
    np.testing.assert_array_equal(shown.point_Mx2, again.point_Mx2)
    assert shown.explained is None
    distance = np.linalg.norm(shown.point_Mx2[:, None] - shown.point_Mx2, axis=-1)
    is_same = shown.class_M[:, None] == shown.class_M
    assert distance[is_same].max() < distance[~is_same].min()
    page = _write(tmp_path, **EMPTY | {"planes": [_plane(), shown]})
    assert page.index("Principal components of database") < page.index("t-SNE of the same")
    # Equal codes of two classes stand at one place; of three codes there is no such plane.
    bit, label = np.repeat(np.eye(5, dtype=np.uint8), 2, axis=0), np.eye(2, dtype=np.uint8)
    pairs = code_statistics.plane(bit, label[np.arange(10) % 2], ["a", "b"], tsne=True)
    np.testing.assert_array_equal(pairs.point_Mx2[::2], pairs.point_Mx2[1::2])
    assert code_statistics.plane(bit[:6], label[[0] * 6], ["a", "b"], tsne=True) is None


def test_bit_statistics_worked_by_hand():
    bit = np.array([[0, 0, 1, 0], [0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1]], np.uint8)
    found = code_statistics.bit_statistics(bit, np.where(bit, 0.9, 0.2))
    # The third bit never changes: it has no entropy, and a correlation with none.
    assert found["bit_entropy_min"] == 0
    assert found["bit_correlation"] == pytest.approx(1 / 3**0.5)  # of the fourth and the others
    assert found["distance_from_half"] == pytest.approx((11 * 0.4 + 5 * 0.3) / 16)
    one = code_statistics.bit_statistics(bit[:, :1], bit[:, :1])
    assert np.isnan(one["bit_correlation"])
    assert one["bit_entropy_min"] == pytest.approx(1)
    opposite = code_statistics.bit_statistics(np.array([[0, 1], [1, 0]]), np.full((2, 2), 0.5))
    assert opposite["bit_correlation"] == pytest.approx(1)


def test_page_of_many_photographs_stays_small(tmp_path):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
    photograph = np.array(small.resize((224, 224), Image.Resampling.BICUBIC))
    shown = Gallery(
        query_image=np.broadcast_to(photograph, (25, 224, 224, 3)),
        query_label=["a"] * 25,
        neighbour_image=np.broadcast_to(photograph, (25, 10, 224, 224, 3)),
        neighbour_label=[["a"] * 10] * 25,
        distance=np.zeros((25, 10), int),
        relevant=np.ones((25, 10), bool),
    )
    assert len(_write(tmp_path, **EMPTY | {"galleries": {"all": shown}})) < 2_000_000
