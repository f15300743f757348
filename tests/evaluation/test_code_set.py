"""Arrays of codes as people hold them become one form, or are refused with a clear message."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax.evaluation import code_set

Q, R, K, C = 5, 9, 12, 3
rng = np.random.default_rng(0)
query, database = rng.integers(0, 2, (2, R, K), np.uint8)
query = query[:Q]
query_class, database_class = np.arange(Q) % C, np.arange(R) % C
query_label, database_label = np.eye(C, dtype=np.uint8)[query_class], np.eye(C)[database_class]
ARRAYS = (query, query_label, database, database_label)


def packed(bits):
    return np.packbits(bits, axis=1, bitorder="little")


def changed(place, *where_and_value):
    """Return the arrays as floats, one of them with some values replaced."""
    arrays = [array.astype(np.float64) for array in ARRAYS]
    for where, value in where_and_value:
        arrays[place][where] = value
    return arrays


def assert_is_ours(found):
    np.testing.assert_array_equal(found.query_QxW, packed(query))
    np.testing.assert_array_equal(found.database_RxW, packed(database))
    np.testing.assert_array_equal(found.query_label_QxC, query_label)
    np.testing.assert_array_equal(found.database_label_RxC, database_label)
    for array in (found.query_QxW, found.database_RxW, found.query_label_QxC):
        assert array.dtype == np.uint8
    assert found.bits == K


# Codes.


@pytest.mark.parametrize(
    ("form", "bits", "note"),
    [
        (lambda bit: bit, None, "Codes: 0/1, 12 bits."),
        (lambda bit: bit.astype(bool), None, "Codes: 0/1, 12 bits."),
        (lambda bit: bit.astype(np.float32), 12, "Codes: 0/1, 12 bits."),
        (
            lambda bit: bit * 2.0 - 1,
            None,
            "Codes: -1/+1 (bit = 1 where the value > 0), 12 bits.",
        ),
        (
            lambda bit: bit.astype(np.int8) * 2 - 1,
            12,
            "Codes: -1/+1 (bit = 1 where the value > 0), 12 bits.",
        ),
        (packed, 12, "Codes: packed bytes, 2 per row, the lowest bit first: 12 bits."),
    ],
)
def test_every_form_of_codes_gives_the_same_set(form, bits, note):
    arrays = form(query), query_label, form(database), database_label
    found = code_set.from_arrays(*arrays, bits=bits)
    assert_is_ours(found)
    assert found.notes[0] == note


def test_bytes_without_bits_have_8_each():
    arrays = packed(query), query_label, packed(database), database_label
    found = code_set.from_arrays(*arrays)
    assert found.bits == 16
    np.testing.assert_array_equal(found.query_QxW, packed(query))
    assert "taken for 16 bits, as no number of bits is given" in found.notes[0]


def test_bytes_of_0_and_1_are_bytes_where_bits_says_so():
    one_byte = np.array([[0], [1]], np.uint8)
    label = np.eye(2)
    found = code_set.from_arrays(one_byte, label, one_byte, label, bits=7)
    assert found.bits == 7
    np.testing.assert_array_equal(found.query_QxW, one_byte)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), bits=st.sampled_from([2, 7, 8, 9, 33]))
def test_signs_and_bytes_agree_on_random_codes(seed, bits):
    bit = np.random.default_rng(seed).integers(0, 2, (6, bits), np.uint8)
    label = np.eye(6)
    signs = code_set.from_arrays(2.0 * bit - 1, label, 2.0 * bit - 1, label)
    in_bytes = code_set.from_arrays(packed(bit), label, packed(bit), label, bits=bits)
    np.testing.assert_array_equal(signs.query_QxW, in_bytes.query_QxW)
    np.testing.assert_array_equal(signs.database_RxW, packed(bit))


# Labels.


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        (lambda label: label.argmax(axis=1), "one integer per row"),
        (lambda label: label.argmax(axis=1)[:, None] + 7.0, "one integer per row"),
        (lambda label: label.astype(bool), "multi-hot, 0/1"),
        (lambda label: label * 2.0 - 1, "multi-hot, -1/+1 (+1 is present)"),
    ],
)
def test_every_form_of_labels_gives_the_same_set(form, kind):
    found = code_set.from_arrays(query, form(query_label), database, form(database_label))
    assert_is_ours(found)
    assert found.notes[1] == f"Labels: {kind}, 3 classes, single-label."


def test_a_class_that_only_the_database_has_counts():
    found = code_set.from_arrays(query, np.zeros(Q, int), database, np.arange(R) // 8 * 4)
    np.testing.assert_array_equal(found.query_label_QxC, [[1, 0]] * Q)
    np.testing.assert_array_equal(found.database_label_RxC, [[1, 0]] * 8 + [[0, 1]])


def test_multi_label_rows_and_rows_without_a_label_are_said():
    several = database_label.copy()
    several[0] = 1
    several[3:5] = 0
    found = code_set.from_arrays(query, query_label, database, several)
    assert found.notes[1] == "Labels: multi-hot, 0/1, 3 classes, multi-label, up to 3 per row."
    assert found.notes[2] == (
        "0 query and 2 database rows have no label: nothing is relevant to them."
    )


@pytest.mark.parametrize(
    ("numbers", "note"),
    [
        ([1, 2, 3], "Of the class numbers from 0 to 3, 3 occur: each of these is a class"),
        ([0, 5, 99], "Of the class numbers from 0 to 99, 3 occur: each of these is a class"),
        ([0, 1, 2], None),
    ],
)
def test_class_numbers_from_1_or_with_gaps_are_said(numbers, note):
    numbers = np.array(numbers)
    found = code_set.from_arrays(query, numbers[query_class], database, numbers[database_class])
    np.testing.assert_array_equal(found.query_label_QxC, query_label)
    said = [text for text in found.notes if text.startswith("Of the class numbers")]
    assert [text.startswith(note) for text in said] == ([True] if note else [])


def test_queries_without_a_relevant_item_are_counted():
    lacking = database_label.copy()
    lacking[database_class == 1] = [0, 0, 1]
    note = code_set.from_arrays(query, query_label, database, lacking).notes[2]
    # Queries 1 and 4 are of class 1.
    assert note == (
        "2 of 5 queries have no relevant item: they share no label with a database row (classes "
        "that the database lacks: 1). Each counts 0, so that mAP is 0.6000 at most."
    )
    found = code_set.from_arrays(query, np.full(Q, 99), database, database_class)
    assert found.notes[3].startswith(
        "No query has a relevant item: none of the 5 shares a label with a database row (classes "
        "that the database lacks: 99). Each counts 0, so that mAP is 0"
    )
    several = query_label.copy()
    several[:, 0] = 1  # all share class 0, whatever else they have
    assert "relevant item" not in str(code_set.from_arrays(query, several, database, lacking).notes)
    bare = query_label.copy()
    bare[2] = 0
    notes = code_set.from_arrays(query, bare, database, database_label).notes
    assert notes[2].startswith("1 query and 0 database rows have no label")
    assert notes[3] == (
        "1 of 5 queries have no relevant item: they share no label with a database row. Each "
        "counts 0, so that mAP is 0.8000 at most."
    )


# Bytes that may be bits.


def as_255(bit, dtype=np.uint8):
    return (255 * bit.astype(int)).astype(dtype)


def as_signs(bit, dtype=np.uint8):
    """-1 of int8 is 255 of uint8."""
    return (2 * bit.astype(np.int8) - 1).view(np.uint8).astype(dtype)


@pytest.mark.parametrize("form", [as_255, as_signs])
@pytest.mark.parametrize("bits", [1, 7, 8, 12])
def test_bytes_that_may_be_bits_are_refused_until_told(form, bits):
    arrays = form(query[:, :bits]), query_label, form(database[:, :bits]), database_label
    message = rf"uint8 in {bits} columns: .* pass bits={bits} or bits={8 * bits} \(--bits\)"
    with pytest.raises(ValueError, match=message):
        code_set.from_arrays(*arrays)
    found = code_set.from_arrays(*arrays, bits=bits)
    np.testing.assert_array_equal(found.query_QxW, packed(query[:, :bits]))
    np.testing.assert_array_equal(found.database_RxW, packed(database[:, :bits]))
    assert found.bits == bits
    if bits > 1:
        in_bytes = code_set.from_arrays(*arrays, bits=8 * bits)
        np.testing.assert_array_equal(in_bytes.database_RxW, arrays[2])
        assert in_bytes.bits == 8 * bits


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64, np.float32])
def test_0_and_255_of_another_type_are_bits(dtype):
    arrays = as_255(query, dtype), query_label, as_255(database, dtype), database_label
    found = code_set.from_arrays(*arrays)
    assert_is_ours(found)
    assert found.notes[0] == "Codes: 0/255 (bit = 1 where the value is 255), 12 bits."


def test_bytes_of_which_a_few_rows_hold_only_0_and_255_are_bytes():
    held = packed(database)
    held[:6] = as_255(database[:6, :2])
    assert code_set.from_arrays(packed(query), query_label, held, database_label).bits == 16
    few = as_255(query[:2, :3]), query_label[:2], as_255(database[:3, :3]), database_label[:3]
    with pytest.raises(ValueError, match="pass bits=3 or bits=24"):
        code_set.from_arrays(*few)
    assert code_set.from_arrays(*few, bits=24).bits == 24


# Queries in the database.


def test_queries_with_the_code_and_labels_of_a_database_row_are_named():
    held = np.concatenate([database, query[[1, 3]]])
    labels = np.concatenate([database_label, query_label[[1]], query_label[[1]]])
    # Query 3 shares its code with the last row, but not its label.
    note = code_set.from_arrays(query, query_label, held, labels).notes[-1]
    assert note.startswith(
        "1 query rows have a database row with the same code and labels: rows 1; other images"
    )
    apart = code_set.from_arrays(query, query_label, database, database_label)
    assert apart.notes[-1] == "No query row has a database row with the same code and labels."


def test_only_the_first_few_are_named():
    note = code_set.from_arrays(*[np.ones((R, C), int)] * 4).notes[-1]
    assert "9 query rows have" in note
    assert "labels: rows 0, 1, 2, 3, 4, …;" in note


def test_queries_in_the_database_by_row_number_are_refused_unless_allowed():
    rows = {"query_row": np.arange(10, 10 + Q), "database_row": np.arange(12, 12 + R)}
    message = (
        r"3 query rows are in the database: rows 2, 3, 4; each finds itself, .* too high; "
        "remove them from one side, or pass allow_overlap=True"
    )
    with pytest.raises(ValueError, match=message):
        code_set.from_arrays(*ARRAYS, **rows)
    found = code_set.from_arrays(*ARRAYS, **rows, allow_overlap=True)
    assert "3 query rows are in the database: rows 2, 3, 4." in found.notes[-1]
    rows["query_row"] = np.arange(Q)
    apart = code_set.from_arrays(*ARRAYS, **rows)
    assert apart.notes[-1] == "By the row numbers, no query row is in the database."


# Errors.

signs_with_zeros = 2.0 * database - 1
signs_with_zeros[:2] = 0
byte_query, byte_database = np.full((Q, 2), 0b10000, np.uint8), np.ones((R, 2), np.uint8)


def test_the_last_bit_of_bytes_may_be_set():
    found = code_set.from_arrays(byte_query, query_label, byte_database, database_label, bits=13)
    assert found.bits == 13


@pytest.mark.parametrize(
    ("arrays", "bits", "message"),
    [
        (
            (query[:, :8], *ARRAYS[1:]),
            None,
            "query codes have 8 columns, database codes 12; encode both with the same number",
        ),
        (
            changed(0, ((1, 2), np.nan), ((3, 0), np.inf)),
            None,
            "query codes hold 2 values that are NaN or infinite, the first in row 1; remove",
        ),
        (
            changed(3, ((8, 0), np.nan)),
            None,
            "database labels hold 1 values that are NaN or infinite, the first in row 8",
        ),
        (
            (2.0 * query - 1, query_label, signs_with_zeros, database_label),
            None,
            "query codes hold the values -1, 1, database codes the values -1, 0, 1: 0 query and 24 "
            r"database values are 0, as sign\(0\) = 0 gives; .* choose a side, such as codes > 0",
        ),
        (
            (query, query_label, 2.0 * database - 1, database_label),
            None,
            "query codes hold the values 0, 1, database codes the values -1, 1",
        ),
        (
            (query + 1.0, *ARRAYS[1:]),
            None,
            "query codes hold the values 1, 2, .* binarize them first, such as codes > 0",
        ),
        (
            (np.linspace(-2, 3, Q * K).reshape(Q, K), *ARRAYS[1:]),
            None,
            "query codes hold 60 values from -2 to 3, .* binarize them first",
        ),
        (
            (query, query_label[:4], *ARRAYS[2:]),
            None,
            r"query codes have shape \(5, 12\), query labels \(4, 3\); pass .* in the same order",
        ),
        (
            (query[0], query_label, *ARRAYS[2:]),
            None,
            r"query codes have shape \(12,\), query labels \(5, 3\); pass \(rows, bits\) codes",
        ),
        (
            (query[:0], query_label[:0], *ARRAYS[2:]),
            None,
            r"query codes have type uint8 and shape \(0, 12\); pass at least one real number",
        ),
        (
            (query.astype(str), *ARRAYS[1:]),
            None,
            r"query codes have type <U3 and shape \(5, 12\); pass at least one real number",
        ),
        (
            ARRAYS,
            48,
            "codes have 12 columns of uint8, but bits=48; wanted 48 columns of 0/1 or -1/.1, or "
            "6 uint8 bytes; pass the bits they were made with",
        ),
        (
            (byte_query, query_label, byte_database, database_label),
            12,
            r"5 query codes, the first in row 0, set bits beyond bits=12 in their last byte; pass "
            r"the right number of bits, or pack with the lowest bit first \(numpy.packbits with",
        ),
        (
            (query, query_label[:, :2], *ARRAYS[2:]),
            None,
            "query labels have 2 columns, database labels 3; encode both over the same classes",
        ),
        (
            (query, query_class - 1, database, database_class),
            None,
            "labels hold the values -1, 0, 1, 2; wanted integers from 0; remove rows without a",
        ),
        (
            (query, query_class + 0.5, database, database_class),
            None,
            "labels hold 6 values from 0 to 2.5; wanted integers from 0",
        ),
        (
            (query, query_label * 2, *ARRAYS[2:]),
            None,
            "labels hold the values 0, 1, 2; wanted one integer per row, or multi-hot rows of 0/1",
        ),
    ],
)
def test_errors_say_what_to_do(arrays, bits, message):
    with pytest.raises(ValueError, match=message):
        code_set.from_arrays(*arrays, bits=bits)
