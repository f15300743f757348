"""The command that searches images, as a user types it."""

import json
import shutil

import numpy as np
import pytest
from commands import command, last_line
from html_pages import Page
from PIL import Image

from dsh_jax.collection import encode_files, image_codes
from dsh_jax.page import hits
from dsh_jax.page.hits import Neighbours
from dsh_jax.runs import exported

NAMES = ["<b>&.png", "a b.jpg", "deep/c.webp", "d.gif", "e.tiff"]


def write_images(root):
    for row, name in enumerate(NAMES):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(row).integers(0, 256, (32, 40), np.uint8)
        Image.fromarray(pixels).save(path)


def test_a_table_is_aligned():
    found = Neighbours("q.png", ["a.png", "b\n.png"], [], [3, 12], [(640, 480), (9, 9)])
    assert hits.table(found).splitlines() == [
        "query q.png",
        "rank  distance         size  file",
        "   1         3      640×480  a.png",
        r"   2        12          9×9  b\n.png",
    ]


def test_marked_images_are_marked_in_text_and_page(tmp_path):
    marks = ["", "vanished: <no> such file"]
    found = Neighbours("q.png", ["a.png", "b.png"], ["a", "b"], [3, 12], [(640, 480)] * 2, marks)
    assert hits.table(found).splitlines()[2:] == [
        "   1         3      640×480  a.png",
        "   2        12      640×480  b.png  (vanished: <no> such file)",
    ]
    hits.write_page(tmp_path / "page.html", "title", [found])
    assert Page((tmp_path / "page.html").read_text()).words.count(marks[1]) == 1


def test_a_page_needs_no_other_file_and_escapes_names(tmp_path):
    write_images(tmp_path)
    paths = [str(tmp_path / name) for name in NAMES]
    (tmp_path / "e.tiff").write_bytes(b"torn")
    found = Neighbours(paths[0], NAMES, paths, [0, 1, 2, 3, 4], [(40, 32)] * 5)
    hits.write_page(tmp_path / "out" / "page.html", "<i> title", [found])
    page = Page((tmp_path / "out" / "page.html").read_text())
    assert not {"b&.png", "i", "script", "link"} & {tag for tag, _ in page.tags}
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert [image["alt"] for image in images] == [paths[0], *NAMES[:4]]
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in images)
    assert not [attrs for _, attrs in page.tags if "href" in attrs]
    for word in (*NAMES, "<i> title", "d 4", "no picture: it is no image that Pillow knows"):
        assert word in page.words


@pytest.fixture(scope="module")
def index(run, folder, tmp_path_factory):
    """A folder of images with codes beside it: (folder, codes)."""
    root = tmp_path_factory.mktemp("images")
    write_images(root)
    encoder = exported.open_encoder(workdir=folder, model=None)
    encode_files.encode_files(encoder, root, NAMES, root / "codes.npz")
    return root, image_codes.load(root / "codes.npz")


def test_the_nearest_are_printed_and_written(index, folder, tmp_path):
    root, codes = index
    queries = [str(root / "a b.jpg"), str(root / "deep" / "c.webp")]
    flags = [f"--workdir={folder}", f"--index={root / 'codes.npz'}", "--k=3"]
    flags += [f"--query={query}" for query in queries]
    flags += [f"--json={tmp_path / 'found.json'}", f"--html={tmp_path / 'found.html'}"]
    process = command("search", *flags)
    assert process.returncode == 0, process.stderr
    distance = np.bitwise_count(codes.packed_NxW[[1, 2], None] ^ codes.packed_NxW).sum(axis=2)
    order = np.argsort(distance, axis=1, kind="stable")[:, :3]
    record = json.loads((tmp_path / "found.json").read_text())
    assert (record["images"], record["bits"]) == (5, 12)
    assert record["fingerprint"] == codes.fingerprint
    for i, one in enumerate(record["queries"]):
        assert one["query"] == queries[i]
        wanted = [
            {"name": NAMES[row], "distance": int(distance[i, row]), "width": 40, "height": 32}
            for row in order[i]
        ]
        assert one["neighbours"] == wanted
        lines = process.stdout.split("\n\n")[i].splitlines()
        assert lines[0] == f"query {queries[i]}"
        assert [line.split("  ")[-1] for line in lines[2:]] == [x["name"] for x in wanted]
    page = Page((tmp_path / "found.html").read_text())
    assert sum(tag == "img" for tag, _ in page.tags) == 8


def test_images_that_vanished_or_were_replaced_are_marked(index, folder, tmp_path):
    root, _ = index
    copy = tmp_path / "images"
    shutil.copytree(root, copy)  # with another time
    (copy / "d.gif").unlink()
    shutil.copy(copy / "a b.jpg", copy / "e.tiff")
    flags = [f"--workdir={folder}", f"--index={root / 'codes.npz'}", f"--images={copy}"]
    flags += [f"--query={root / 'a b.jpg'}", f"--json={tmp_path / 'found.json'}"]
    process = command("search", *flags, f"--html={tmp_path / 'found.html'}")
    assert process.returncode == 0, process.stderr
    wanted = {"d.gif": "vanished: there is no such file", "e.tiff": "changed since it was encoded"}
    lines = process.stdout.splitlines()
    for name in NAMES:
        (line,) = [x for x in lines if f"  {name}" in x]
        assert line.endswith(f"{name}  ({wanted[name]})" if name in wanted else name)
    (query,) = json.loads((tmp_path / "found.json").read_text())["queries"]
    marked = {one["name"]: one["mark"] for one in query["neighbours"] if "mark" in one}
    assert marked == wanted
    page = Page((tmp_path / "found.html").read_text())
    assert all(page.words.count(mark) == 1 for mark in wanted.values())
    assert "no picture: there is no such file" in page.words
    shutil.rmtree(copy)
    process = command("search", *flags)
    assert "(vanished" not in process.stdout
    assert f"images' folder {copy} is not there, so whether they still are" in process.stdout


def test_other_indices_and_queries_are_refused(index, folder, tmp_path):
    root, codes = index
    image_codes.save(tmp_path / "other.npz", codes._replace(fingerprint="f" * 16))
    flags = [f"--workdir={folder}", f"--query={root / 'a b.jpg'}"]
    process = command("search", *flags, f"--index={tmp_path / 'other.npz'}")
    assert process.returncode == 1
    assert "of the model ffffffffffffffff, but this model is" in last_line(process.stderr)
    flags = [f"--workdir={folder}", "--query=absent.png"]
    process = command("search", *flags, f"--index={root / 'codes.npz'}")
    assert process.returncode == 1
    assert last_line(process.stderr) == "error: absent.png: there is no such file."


def search_flags(index, folder, path):
    """Flags of a search, and the neighbours that it must find: (flags, [(name, distance), …])."""
    root, codes = index
    flags = [f"--workdir={folder}", f"--index={root / 'codes.npz'}", f"--json={path}"]
    distance = np.bitwise_count(codes.packed_NxW[1] ^ codes.packed_NxW).sum(axis=1)
    order = np.argsort(distance, kind="stable").tolist()
    return [*flags, f"--query={root / 'a b.jpg'}"], [(NAMES[x], int(distance[x])) for x in order]


def neighbours(path):
    (query,) = json.loads(path.read_text())["queries"]
    return [(one["name"], one["distance"]) for one in query["neighbours"]]


def test_an_index_of_faiss_is_kept_and_searched_through(index, folder, tmp_path):
    pytest.importorskip("faiss", reason="FAISS is not installed")
    flags, wanted = search_flags(index, folder, tmp_path / "found.json")
    kept = tmp_path / "codes.faiss"
    process = command("search", *flags, f"--faiss={kept}", "--faiss_from=5")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"{kept}: flat index of 5 codes, searched through\n")
    assert neighbours(tmp_path / "found.json") == wanted
    # A code that was replaced does not stay in it.
    _, codes = index
    changed = codes._replace(packed_NxW=codes.packed_NxW ^ np.uint8([[0], [0], [0], [0], [5]]))
    image_codes.save(tmp_path / "codes.npz", changed)
    process = command(
        "search", *flags, f"--index={tmp_path / 'codes.npz'}", f"--faiss={kept}", "--faiss_from=5"
    )
    assert process.returncode == 0, process.stderr
    assert "1 of its codes were replaced or dropped" in process.stderr
    distance = np.bitwise_count(codes.packed_NxW[1] ^ changed.packed_NxW).sum(axis=1)
    assert dict(neighbours(tmp_path / "found.json")) == dict(
        zip(NAMES, distance.tolist(), strict=True)
    )
    process = command("search", *flags, f"--faiss={kept}", "--faiss_kind=hash")
    assert process.returncode == 1
    assert last_line(process.stderr).endswith("is of kind flat, wanted is hash: name another file")


def test_a_collection_of_milvus_is_kept_and_searched(index, folder, tmp_path):
    reason = "embedded Milvus is not installed"
    pytest.importorskip("pymilvus", reason=reason)
    pytest.importorskip("milvus_lite.server", reason=reason, exc_type=ImportError)
    flags, wanted = search_flags(index, folder, tmp_path / "found.json")
    process = command("search", *flags, f"--milvus={tmp_path / 'codes.db'}")
    assert process.returncode == 0, process.stderr
    assert neighbours(tmp_path / "found.json") == wanted
    assert (tmp_path / "codes.db").exists()
