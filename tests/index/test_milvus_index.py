"""Collections of Milvus give what exact search gives; others are refused."""

import logging
import socket
import sys

import numpy as np
import pytest

from dsh_jax import retrieval
from dsh_jax.collection import image_codes
from dsh_jax.collection.image_codes import ImageCodes
from dsh_jax.index import milvus_index

MODEL = "0123456789abcdef"


def some(packed_NxW, *, bits=None, fingerprint=MODEL):
    rows, width = packed_NxW.shape
    names = tuple(f"é/{row}\n.jpg" for row in range(rows))
    size_Nx2 = np.ones((rows, 2), np.int32)
    return ImageCodes(packed_NxW, names, size_Nx2, bits or 8 * width, fingerprint)


def random_codes(rows, width):
    """Codes with more zeros than ones, so that ties abound."""
    byte_2xNxW = np.random.default_rng(0).integers(0, 256, (2, rows, width), np.uint8)
    return byte_2xNxW[0] & byte_2xNxW[1]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """A connection to embedded Milvus."""
    reason = "embedded Milvus is not installed"
    pytest.importorskip("pymilvus", reason=reason)
    pytest.importorskip("milvus_lite.server", reason=reason, exc_type=ImportError)
    path = tmp_path_factory.mktemp("milvus") / "codes.db"
    with milvus_index.connected(str(path)) as client:
        yield client


@pytest.mark.parametrize(("rows", "width"), [(1, 1), (700, 2), (3000, 8), (500, 16)])
def test_the_answer_is_that_of_exact_search(embedded, rows, width):
    packed_NxW = random_codes(rows, width)
    name = f"random_{rows}"
    milvus_index.export(embedded, name, some(packed_NxW))
    query_QxW = np.concatenate([packed_NxW[:3], ~packed_NxW[:2]])
    for k in {1, min(rows, 20), rows}:
        found = milvus_index.search(embedded, name, query_QxW, k)
        wanted = retrieval.search(query_QxW, packed_NxW, k)
        for one, other in zip(found, wanted, strict=True):
            assert one.dtype == np.int32
            np.testing.assert_array_equal(one, other)


def test_of_more_ties_than_milvus_returns_the_lowest_rows_are_found(embedded, monkeypatch):
    monkeypatch.setattr(milvus_index, "MOST", 50)
    monkeypatch.setattr(milvus_index, "SPARE", 5)
    packed_NxW = random_codes(2000, 1)
    packed_NxW[100:1700] = packed_NxW[7]
    packed_NxW[[1, 1900]] ^= 1
    milvus_index.export(embedded, "ties", some(packed_NxW))
    # Milvus has those that were sent again behind the others.
    again = [
        {"id": row, "code": packed_NxW[row].tobytes(), "name": "again"} for row in range(0, 900)
    ]
    embedded.upsert("ties", again)
    query_QxW = packed_NxW[[7, 7, 1, 1900]] ^ np.array([[0], [2], [0], [1]], np.uint8)
    for k in (1, 20, 50):
        found = milvus_index.search(embedded, "ties", query_QxW, k)
        np.testing.assert_array_equal(found, retrieval.search(query_QxW, packed_NxW, k))


def test_a_collection_grows_and_goes_on_after_a_stop(embedded, monkeypatch):
    monkeypatch.setattr(milvus_index, "ROWS", 100)
    packed_NxW = random_codes(1000, 4)
    sent = []

    class Stopping:
        """The client, which stops in the fourth batch, half of which is there already."""

        def __getattr__(self, name):
            return getattr(embedded, name)

        def upsert(self, collection, batch):
            sent.append(batch[0]["id"])
            if len(sent) == 4:
                embedded.upsert(collection, batch[:50])
                raise KeyboardInterrupt
            embedded.upsert(collection, batch)

    with pytest.raises(KeyboardInterrupt):
        milvus_index.export(Stopping(), "grown", some(packed_NxW[:750]))
    milvus_index.export(Stopping(), "grown", some(packed_NxW[:750]))
    milvus_index.export(Stopping(), "grown", some(packed_NxW))
    milvus_index.export(Stopping(), "grown", some(packed_NxW))  # there is nothing to do
    # Whole batches that are there are not sent again.
    assert sent == [0, 100, 200, 300, 300, 400, 500, 600, 700, 700, 800, 900]
    found = milvus_index.search(embedded, "grown", packed_NxW[[0, 349, 751]], 1000)
    wanted = retrieval.search(packed_NxW[[0, 349, 751]], packed_NxW, 1000)
    np.testing.assert_array_equal(found, wanted)
    (one,) = embedded.get("grown", ids=[349], output_fields=["name"])
    assert one["name"] == r"\xe9/349\n.jpg"


def test_collections_of_others_are_refused(embedded):
    codes = some(random_codes(300, 2), bits=16)
    milvus_index.export(embedded, "first", codes)
    changed = codes.packed_NxW.copy()
    changed[0] ^= 1
    for other, message in (
        (
            codes._replace(fingerprint="f" * 16),
            "'16 bits of the model 0123456789abcdef', but these",
        ),
        (codes._replace(bits=15), "but these codes are 15 bits of the model 0123456789abcdef"),
        (codes._replace(packed_NxW=changed), "holds 300 codes, not the first of these 300"),
        (some(codes.packed_NxW[:299]), "holds 300 codes, not the first of these 299"),
    ):
        with pytest.raises(ValueError, match=message):
            milvus_index.export(embedded, "first", other)
    embedded.create_collection("theirs", dimension=8)
    with pytest.raises(ValueError, match="the collection theirs holds 'something else', but these"):
        milvus_index.export(embedded, "theirs", codes)
    with pytest.raises(ValueError, match=r"shape \(0, 2\)"):
        milvus_index.export(embedded, "none", image_codes.empty(bits=16, fingerprint=MODEL))


@pytest.mark.parametrize("change", ["replaced", "renamed", "dropped", "dropped and added"])
def test_a_collection_is_brought_in_step_with_codes_that_changed(embedded, monkeypatch, change):
    monkeypatch.setattr(milvus_index, "ROWS", 100)
    old = some(random_codes(500, 3))
    name = change.replace(" ", "_")
    milvus_index.export(embedded, name, old)
    kept = [row for row in range(500) if row not in (3, 250)]
    new = image_codes.take(old, kept if "dropped" in change else range(500))
    if change == "replaced":
        new.packed_NxW[[3, 250]] ^= 255
    if change == "renamed":
        new = new._replace(names=(*new.names[:3], "other.jpg", *new.names[4:]))
    if change == "dropped and added":
        more = some(random_codes(600, 3)[500:])
        more = more._replace(names=tuple(f"new{row}" for row in range(100)))
        new = image_codes.join(new, more)
    with pytest.raises(ValueError, match="holds 500 codes, not the first of these"):
        milvus_index.export(embedded, name, new)
    for _ in range(2):
        milvus_index.export(embedded, name, new, renew=True)
        there = embedded.query(name, filter="id >= 0", output_fields=["code", "name"], limit=1_000)
        wanted = [milvus_index._record(new, row) for row in range(len(new.names))]
        found = [one | {"code": one["code"][0]} for one in sorted(there, key=lambda x: x["id"])]
        assert found == wanted
    found = milvus_index.search(embedded, name, new.packed_NxW[[3, 249]], 450)
    wanted = retrieval.search(new.packed_NxW[[3, 249]], new.packed_NxW, 450)
    np.testing.assert_array_equal(found, wanted)


def test_a_collection_of_other_images_is_never_written_over(embedded):
    old = some(random_codes(100, 3))
    milvus_index.export(embedded, "mine", old)
    for other in (
        old._replace(names=tuple(f"other{row}" for row in range(100))),
        old._replace(packed_NxW=~old.packed_NxW),
        image_codes.take(old, range(49)),
    ):
        with pytest.raises(ValueError, match="holds 100 codes, not the first of these"):
            milvus_index.export(embedded, "mine", other, renew=True)
    milvus_index.export(embedded, "mine", old)


def test_any_one_code_that_was_replaced_is_found_out(embedded):
    old = some(random_codes(300, 2))
    milvus_index.export(embedded, "one", old)
    for row in (1, 150, 298):  # between those of a sample
        changed = old.packed_NxW.copy()
        changed[row] ^= 1
        with pytest.raises(ValueError, match="not the first of these 300"):
            milvus_index.export(embedded, "one", old._replace(packed_NxW=changed))


def test_a_bad_k_is_refused(embedded):
    codes = some(random_codes(30, 2))
    milvus_index.export(embedded, "few", codes)
    for k in (0, 31, 1.5):
        with pytest.raises(ValueError, match=f"k={k}, but the collection has 30 codes.* 1 to 30"):
            milvus_index.search(embedded, "few", codes.packed_NxW, k)


def test_a_file_is_released_and_opened_again(embedded, tmp_path):
    path = str(tmp_path / "codes.db")
    codes = some(random_codes(50, 2))
    for _ in range(2):
        with milvus_index.connected(path) as client:
            milvus_index.export(client, "codes", codes)
            assert (milvus_index.search(client, "codes", codes.packed_NxW, 1)[0] == 0).all()
    assert [one.name for one in tmp_path.iterdir()] == ["codes.db"]


def test_a_server_is_reached_by_its_uri(embedded, tmp_path):
    from milvus_lite.server import Server

    with socket.socket() as one:
        one.bind(("localhost", 0))
        address = f"localhost:{one.getsockname()[1]}"
    server = Server(str(tmp_path / "served.db"), address)
    codes = some(random_codes(200, 3))
    assert server.start()
    try:
        with milvus_index.connected(f"http://{address}", token="root:Milvus") as client:
            milvus_index.export(client, "codes", codes)
            found = milvus_index.search(client, "codes", codes.packed_NxW[:5], 30)
    finally:
        server.stop()
    wanted = retrieval.search(codes.packed_NxW[:5], codes.packed_NxW, 30)
    np.testing.assert_array_equal(found, wanted)


def test_what_milvus_says_comes_as_one_line(embedded, tmp_path, caplog):
    with (
        pytest.raises(ValueError, match=r"Milvus at .*codes\.db: .*; check the path, and that no"),
        milvus_index.connected(str(tmp_path / "codes.db")) as client,
    ):
        client.get("absent", ids=[0])
    with (
        pytest.raises(ValueError, match=r"Milvus at .*not exists.*; check the path"),
        milvus_index.connected(str(tmp_path / "absent" / "codes.db")),
    ):
        pass
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_a_server_that_is_not_there_is_said():
    pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    with (
        pytest.raises(ValueError, match=r"Milvus at http://localhost:1: .*; check that it runs"),
        milvus_index.connected("http://localhost:1"),
    ):
        pass


def test_an_embedded_milvus_without_binary_vectors_is_said(tmp_path):
    pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    with (
        pytest.raises(ValueError, match="install milvus-lite<3, which has binary vectors"),
        milvus_index.connected(str(tmp_path / "codes.db")),
    ):
        raise pymilvus.MilvusException(6, "field 'code' uses Milvus type BinaryVector which")


def test_other_files_are_no_place_for_embedded_milvus():
    pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    for uri in ("codes.npz", "a b.db", "localhost:19530", "x" * 34 + ".db"):
        with (
            pytest.raises(ValueError, match=f"{uri} is no name for embedded Milvus: pass a file"),
            milvus_index.connected(uri),
        ):
            pass


def test_without_pymilvus_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with (
        pytest.raises(
            ValueError, match=r"pymilvus cannot be imported .*: pip install -e \.\[milvus"
        ),
        milvus_index.connected("codes.db"),
    ):
        pass
