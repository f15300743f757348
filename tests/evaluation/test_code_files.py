"""Every file format gives the same set of codes, and what is amiss in files is said."""

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from etils import epath

from dsh_jax.evaluation import code_files

Q, R, K, C = 5, 9, 12, 3
rng = np.random.default_rng(0)
query, database = rng.integers(0, 2, (Q, K), np.uint8), rng.integers(0, 2, (R, K), np.uint8)
query_class, database_class = np.arange(Q) % C, np.arange(R) % C
query_label, database_label = np.eye(C, dtype=np.uint8)[query_class], np.eye(C)[database_class]
ROLES = code_files.ROLES


def packed(bits):
    return np.packbits(bits, axis=1, bitorder="little")


def signs(bits):
    return 2.0 * bits - 1


def ours():
    """The arrays that `evaluate_run` writes; the unseen database is the half of the other."""
    return {
        "bits": K,
        "split_hash": "0123",
        "query_code": packed(query),
        "query_label": query_label,
        "query_row": np.arange(Q),
        "train_code": packed(database),
        "train_label": database_label,
        "train_row": np.arange(Q, Q + R),
        "unseen_code": packed(database[::2]),
        "unseen_label": database_label[::2],
        "unseen_row": np.arange(Q + R, Q + R + 5),
    }


def write_npz(folder, **arrays):
    np.savez(folder / "codes.npz", **arrays)
    return folder / "codes.npz"


def write_ours(folder):
    return write_npz(folder, **ours())


def write_generic(folder):
    values = signs(query), query_class, signs(database), database_class
    return write_npz(folder, **dict(zip(ROLES, values, strict=True)))


def write_set(folder, program, values, prefix=""):
    for end, value in zip(code_files.FOLDER_NAMES[program], values, strict=True):
        np.save(folder / f"{prefix}{end}.npy", value)
    return folder


def write_hashnet(folder):
    values = signs(query), signs(query_label), signs(database), signs(database_label)
    return write_set(folder, "HashNet", values, prefix="iter_10000_")


def write_deephash(folder):
    return write_set(folder, "DeepHash-pytorch", (query, query_label, database, database_label))


def write_mat(folder, **variables):
    scipy.io.savemat(folder / "codes.mat", variables)
    return folder / "codes.mat"


def write_mat_rows(folder):
    labels = {"L_te": query_label, "L_db": scipy.sparse.csc_array(database_label)}
    return write_mat(folder, val_B=signs(query), retrieval_B=signs(database), **labels)


def write_mat_columns(folder):
    variables = {"qB": query.T, "rB": database.T, "qL": query_class[None], "rL": database_class}
    return write_mat(folder, **variables)


def write_mat_all_columns(folder):
    labels = {"query_label": query_label.T, "database_label": database_label.T}
    return write_mat(
        folder, bits=K, B_query=packed(query).T, B_database=packed(database).T, **labels
    )


def assert_is_ours(found):
    np.testing.assert_array_equal(found.query_QxW, packed(query))
    np.testing.assert_array_equal(found.database_RxW, packed(database))
    np.testing.assert_array_equal(found.query_label_QxC, query_label)
    np.testing.assert_array_equal(found.database_label_RxC, database_label)
    assert found.bits == K


@pytest.mark.parametrize(
    ("write", "notes"),
    [
        (write_ours, ["codes.npz: query_code against train_code.", "Codes: packed bytes, 2 per"]),
        (write_generic, ["codes.npz: query_code against database_code.", "Codes: -1/+1"]),
        (
            write_hashnet,
            [
                "Files of HashNet: iter_10000_test_code against iter_10000_database_code.",
                "Codes: -1/+1",
                "Labels: multi-hot, -1/+1",
            ],
        ),
        (
            write_deephash,
            ["Files of DeepHash-pytorch: tst_binary against trn_binary.", "Codes: 0/1, 12 bits."],
        ),
        (
            write_mat_rows,
            ["codes.mat: val_B (L_te) against retrieval_B (L_db).", "Codes: -1/+1"],
        ),
        (
            write_mat_columns,
            [
                "codes.mat: qB (qL) against rB (rL).",
                "The labels have a column per image: transposed.",
                "The codes have a column per image: transposed.",
                "Codes: 0/1",
                "Labels: one integer per row",
            ],
        ),
        (
            write_mat_all_columns,
            [
                "codes.mat: B_query (query_label) against B_database",
                "The codes have a column",
                "The labels have a column",
            ],
        ),
    ],
)
def test_every_format_gives_the_same_set(write, notes, tmp_path):
    found = code_files.load(write(tmp_path))
    assert_is_ours(found)
    for note in notes:
        assert any(said.startswith(note) for said in found.notes)
    turned = [[note for note in said if "column" in note] for said in (notes, found.notes)]
    assert len(turned[0]) == len(turned[1])


def test_row_numbers_of_our_files_are_compared(tmp_path):
    assert "By the row numbers, no query" in code_files.load(write_ours(tmp_path)).notes[-1]
    shared = write_npz(tmp_path, **ours() | {"train_row": np.arange(R)})
    with pytest.raises(ValueError, match="By the row numbers, 5 query rows are in the database"):
        code_files.load(shared)
    assert_is_ours(code_files.load(shared, allow_overlap=True))
    # The other database holds none of them.
    assert len(code_files.load(shared, database="unseen").database_RxW) == 5


def test_the_database_of_our_files_is_chosen_by_name(tmp_path):
    found = code_files.load(write_ours(tmp_path), database="unseen")
    np.testing.assert_array_equal(found.database_RxW, packed(database[::2]))
    np.testing.assert_array_equal(found.database_label_RxC, database_label[::2])
    assert found.notes[0] == "codes.npz: query_code against unseen_code."


def test_bits_complete_packed_bytes(tmp_path):
    arrays = dict(
        zip(ROLES, (packed(query), query_label, packed(database), database_label), strict=True)
    )
    assert_is_ours(code_files.load(write_npz(tmp_path, **arrays), bits=K))
    assert code_files.load(write_npz(tmp_path, **arrays)).bits == 16


def test_prefix_chooses_among_several_sets(tmp_path):
    write_hashnet(tmp_path)
    other = database, database_label, query, query_label
    write_set(tmp_path, "HashNet", other, prefix="iter_20000_")
    message = (
        r"holds several sets of codes, with the prefixes iter_10000_ \(HashNet\), iter_20000_ "
        r"\(HashNet\); pass one as .*/PREFIX"
    )
    with pytest.raises(ValueError, match=message):
        code_files.load(tmp_path)
    assert_is_ours(code_files.load(tmp_path / "iter_10000"))
    assert_is_ours(code_files.load(tmp_path / "iter_10000_"))
    assert len(code_files.load(tmp_path / "iter_20000").query_QxW) == R


def test_incomplete_set_gives_way_to_the_complete_one(tmp_path):
    np.save(write_deephash(tmp_path) / "cifar10-0.81-trn_binary.npy", database)
    assert_is_ours(code_files.load(tmp_path))


# Errors.


def without(writer, *names):
    def write(folder):
        for name in names:
            (writer(folder) / name).unlink()
        return folder

    return write


def with_bytes(name, data):
    def write(folder):
        (folder / name).write_bytes(data)
        return folder / name

    return write


def with_objects(folder):
    np.save(write_deephash(folder) / "tst_label.npy", np.array([{1}, {2}], object))
    return folder


@pytest.mark.parametrize(
    ("write", "arguments", "message"),
    [
        (
            without(write_hashnet, "iter_10000_test_labels.npy"),
            {},
            "lacks iter_10000_test_labels.npy of HashNet's four files; put them there",
        ),
        (
            lambda folder: folder,
            {},
            r"is no codes that we know: .* holds nothing; wanted an .npz file, a .mat file, or a "
            r"folder with \*test_code, \*test_labels, .* or \*tst_binary, .*trn_label \(.npy\)",
        ),
        (
            lambda folder: write_deephash(folder) / "cifar",
            {},
            "is no codes that we know: .* holds trn_binary.npy, trn_label.npy, tst_binary.npy",
        ),
        (
            lambda folder: folder / "absent.npz",
            {},
            r"absent.npz cannot be read \(.*No such file.*\); check the path",
        ),
        (with_bytes("codes.npz", b""), {}, r"codes.npz cannot be read \(.*\); check the path, or"),
        (with_bytes("codes.mat", b"no"), {}, "codes.mat cannot be read .* with the option -v7"),
        (with_objects, {}, "tst_label.npy cannot be read .* write plain numbers with numpy.save"),
        (
            write_ours,
            {"database": "test"},
            "codes.npz lacks test_code, test_label; it holds bits, query_code, .*unseen_row; add "
            "what is missing, or choose another database",
        ),
        (
            lambda folder: write_npz(folder, query_code=query, train_label=database_label),
            {},
            "lacks query_label, database_code, database_label; it holds query_code, train_label",
        ),
        (write_deephash, {"database": "unseen"}, "'unseen' chooses within an .npz file; leave it"),
        (write_ours, {"bits": 16}, "bits=16, but .*codes.npz says bits=12; leave bits out"),
        (
            lambda folder: write_mat(folder, B=query, L_query=query_label),
            {},
            "codes.mat has nothing for the query codes; it holds B, L_query; wanted exactly one of "
            "query_code, B_query,",
        ),
        (
            lambda folder: write_mat(folder, qB=query, B_query=query),
            {},
            "codes.mat has B_query, qB for the query codes; .* wanted exactly one of",
        ),
        (
            lambda folder: write_mat(folder, qB=query.T, rB=database, qL=query_class, rL=[0]),
            {},
            r"query codes have shape \(12, 5\), query labels \(1, 5\)",
        ),
    ],
)
def test_errors_say_what_to_do(write, arguments, message, tmp_path):
    path = write(epath.Path(tmp_path))
    with pytest.raises(ValueError, match=message):
        code_files.load(path, **arguments)
