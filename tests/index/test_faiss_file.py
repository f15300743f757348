"""Files of FAISS: what it writes we read, what we write it reads; others are refused."""

import numpy as np
import pytest
from clusters import assert_same, clusters

from dsh_jax import retrieval
from dsh_jax.index import faiss_file, faiss_index

faiss = pytest.importorskip("faiss", reason="FAISS is not installed")

KINDS = pytest.mark.parametrize("kind", faiss_index.KINDS)
CODES = clusters(1000)


def make(path, kind="flat", codes=CODES):
    faiss_file.write(path, faiss_index.build(codes, bits=64, kind=kind))
    return path


@KINDS
def test_an_index_comes_back_and_faiss_reads_it(kind, tmp_path):
    path = make(tmp_path / "new" / "codes.faiss", kind)
    assert [one.name for one in path.parent.iterdir()] == ["codes.faiss"]
    index = faiss_file.read(path, CODES)
    assert faiss_index.kind_of(index) == kind
    built = faiss_index.search(faiss_index.build(CODES, bits=64, kind=kind), CODES[:9], 20)
    assert_same(faiss_index.search(index, CODES[:9], 20), built)
    theirs = faiss.read_index_binary(str(path))
    distance_Qxk, _ = theirs.search(CODES[:9], 20)
    np.testing.assert_array_equal(distance_Qxk, built[0])


@pytest.mark.parametrize(
    ("kind", "description"), [("flat", "BFlat"), ("ivf", "BIVF16"), ("hash", "BHash10")]
)
def test_an_index_that_faiss_wrote_is_read(kind, description, tmp_path):
    index = faiss.index_binary_factory(64, description)
    index.train(CODES)
    index.add(CODES)
    faiss.write_index_binary(index, str(tmp_path / "codes.faiss"))
    index = faiss_file.read(tmp_path / "codes.faiss", CODES)
    faiss_index.set_probe(index, {"flat": None, "ivf": 16, "hash": 10}[kind])
    wanted = retrieval.search(CODES[:9], CODES, 20)
    assert_same(faiss_index.search(index, CODES[:9], 20), wanted)


@KINDS
def test_it_is_made_grows_with_the_codes_and_is_left_alone(kind, tmp_path):
    path = tmp_path / "codes.faiss"
    faiss_file.keep(path, CODES[:600], bits=64, kind=kind)
    index = faiss_file.keep(path, CODES, bits=64)
    assert (faiss_index.kind_of(index), index.ntotal) == (kind, 1000)
    assert faiss_file.read(path, CODES).ntotal == 1000
    distance_Qxk, row_Qxk = faiss_index.search(index, CODES[[10, 990]], 1)
    assert (distance_Qxk == 0).all()
    np.testing.assert_array_equal(CODES[row_Qxk[:, 0]], CODES[[10, 990]])
    before = path.stat().st_mtime_ns
    probe = None if kind == "flat" else 2
    index = faiss_file.keep(path, CODES, bits=64, kind=kind, probe=probe)
    assert path.stat().st_mtime_ns == before
    if probe:
        assert getattr(index, faiss_index.PROBES[kind]) == probe


def test_a_write_that_stops_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = make(tmp_path / "codes.faiss", codes=CODES[:600])
    before = path.read_bytes()

    def stop(number):
        raise OSError("no space left")

    monkeypatch.setattr(faiss_file.os, "fsync", stop)
    with pytest.raises(OSError, match="no space left"):
        faiss_file.keep(path, CODES, bits=64)
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert faiss_file.keep(path, CODES, bits=64).ntotal == 1000
    assert [one.name for one in tmp_path.iterdir()] == ["codes.faiss"]


@KINDS
def test_other_codes_are_refused(kind, tmp_path):
    path = make(tmp_path / "codes.faiss", kind)
    before = path.read_bytes()
    changed = CODES.copy()
    changed[0] ^= 1
    for codes, words in {
        "another": (changed, "not the first of these 1,000 of 8"),
        "a row less": (CODES[1:], "holds 1,000 codes of 8 bytes, not the first of these 999"),
        "another width": (CODES[:, :7].copy(), "not the first of these 1,000 of 7"),
    }.values():
        with pytest.raises(ValueError, match=words):
            faiss_file.keep(path, codes, bits=8 * codes.shape[1])
    assert path.read_bytes() == before


@KINDS
def test_one_other_code_is_found_out(kind, tmp_path):
    path = make(tmp_path / "codes.faiss", kind)
    for row in (0, 1, 333, 998, 999):
        changed = CODES.copy()
        changed[row, 3] ^= 4
        with pytest.raises(ValueError, match="not the first of these"):
            faiss_file.read(path, changed)


@KINDS
@pytest.mark.parametrize("change", ["replaced", "dropped", "dropped and added", "swapped"])
def test_it_is_brought_in_step_with_codes_that_changed(kind, change, tmp_path):
    path = make(tmp_path / "codes.faiss", kind)
    codes = CODES.copy()
    if change == "replaced":
        codes[[1, 500]] ^= 255
    elif change == "swapped":
        codes[[1, 500]] = codes[[500, 1]]
    else:
        added = clusters(1010)[1000:] if change == "dropped and added" else CODES[:0]
        codes = np.concatenate([np.delete(codes, [1, 500], axis=0), added])
    index = faiss_file.keep(path, codes, bits=64, renew=True)
    assert (faiss_index.kind_of(index), index.ntotal) == (kind, len(codes))
    assert faiss_file.read(path, codes).ntotal == len(codes)
    before = path.stat().st_mtime_ns
    index = faiss_file.keep(path, codes, bits=64, renew=True)
    assert path.stat().st_mtime_ns == before
    if kind == "flat":
        assert_same(faiss_index.search(index, codes[:5], 9), retrieval.search(codes[:5], codes, 9))


@KINDS
def test_the_index_of_other_codes_is_never_written_over(kind, tmp_path):
    path = make(tmp_path / "codes.faiss", kind)
    before = path.read_bytes()
    for other in (CODES ^ 255, np.concatenate([CODES[:400], CODES[:600] ^ 255])):
        with pytest.raises(ValueError, match="not the first of these"):
            faiss_file.keep(path, other, bits=64, renew=True)
    with pytest.raises(ValueError, match="not the first of these"):
        faiss_file.keep(path, CODES[:, :7].copy(), bits=56, renew=True)
    assert path.read_bytes() == before


@KINDS
def test_many_equal_codes_are_compared_too(kind, tmp_path):
    codes = np.repeat(CODES[:4], 5_000, axis=0)
    path = make(tmp_path / "codes.faiss", kind, codes)
    assert faiss_file.read(path, codes).ntotal == 20_000
    codes[7] = codes[-1]
    with pytest.raises(ValueError, match="not the first of these"):
        faiss_file.read(path, codes)


def test_another_kind_is_refused(tmp_path):
    path = make(tmp_path / "codes.faiss", "hash")
    with pytest.raises(ValueError, match="is of kind hash, wanted is ivf: name another file"):
        faiss_file.keep(path, CODES, bits=64, kind="ivf")
    faiss.write_index_binary(faiss.IndexBinaryHNSW(64), str(path))
    with pytest.raises(ValueError, match="the index of FAISS is IndexBinaryHNSW; pass one of"):
        faiss_file.read(path, CODES)


@KINDS
def test_damaged_files_are_refused_and_left_as_they_are(kind, tmp_path):
    path = make(tmp_path / "codes.faiss", kind, CODES[:200])
    whole = path.read_bytes()
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(
            ValueError, match=r"codes\.faiss is damaged, or no binary index of FAISS"
        ):
            faiss_file.keep(path, CODES, bits=64)
        assert path.read_bytes() == whole[:length]


@KINDS
def test_a_changed_byte_gives_the_codes_or_an_error_in_bounded_memory(kind, tmp_path):
    path = make(tmp_path / "codes.faiss", kind, CODES[:100])
    whole, limit = path.read_bytes(), faiss.get_deserialization_vector_byte_limit()
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, min(len(whole), 130), 100):
        changed = bytearray(whole)
        changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            index = faiss_file.read(path, CODES[:100])
        except ValueError:
            refused += 1
        else:
            assert index.ntotal == 100
    assert refused > 10
    assert faiss.get_deserialization_vector_byte_limit() == limit


def test_a_picture_and_an_index_of_other_vectors_are_no_index(tmp_path):
    path = tmp_path / "codes.faiss"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match="no binary index of FAISS"):
        faiss_file.read(path, CODES)
    faiss.write_index(faiss.IndexFlatL2(8), str(path))
    with pytest.raises(ValueError, match="no binary index of FAISS"):
        faiss_file.read(path, CODES)
    with pytest.raises(OSError, match="absent"):
        faiss_file.read(tmp_path / "absent.faiss", CODES)
