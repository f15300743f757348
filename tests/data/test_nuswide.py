"""NUS-WIDE's layout with five images and 81 label files."""

import itertools

import numpy as np
import pytest
from PIL import Image

from dsh_jax.data.nuswide import nuswide, read_column

# In an order that is not the alphabet's.
NAMES = [f"{a}{b}" for a, b in itertools.product("cba", "zyxwvutsrqponmlkjihgfedcba1")]
IMAGES = [
    "actor/0001_21.jpg",
    "actor/0002_7.jpg",
    "zoo/0001_3.jpg",
    "zoo/0002_5.jpg",
    "zoo/9_9.jpg",
]
COLUMNS = {"az": "10100", "by": "11110", "cx": "10100"}  # all others are 0


def write_column(root, name, column, end="\n"):
    path = root / "Groundtruth" / "AllLabels" / f"Labels_{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{value}{end}" for value in column).encode())


def write_list(root, name, images, form="{}", end="\n"):
    path = root / "ImageList" / name
    path.parent.mkdir(exist_ok=True)
    lines = [form.format(image.replace("/", "\\")) for image in images]
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())


@pytest.fixture
def made(tmp_path):
    for image in IMAGES:
        path = tmp_path / "Flickr" / image
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), "red").save(path)
    write_list(tmp_path, "Imagelist.txt", IMAGES)
    for name in NAMES:
        write_column(tmp_path, name, COLUMNS.get(name, "00000"))
    return tmp_path


def test_81_concepts_are_alphabetical_and_rows_keep_the_order_of_the_list(made):
    source = nuswide(made, image_size=4, concepts=81)
    assert source.label_names == tuple(sorted(NAMES))
    assert source.images.name_N.tolist() == [f"Flickr/{image}" for image in IMAGES]
    for c, name in enumerate(source.label_names):
        column = [int(value) for value in COLUMNS.get(name, "00000")]
        np.testing.assert_array_equal(source.label_NxC[:, c], column)
    assert source.multilabel
    assert source.official == {}
    assert source.notes == ("1 of 5 images have none of the 81 labels.",)


def test_21_concepts_are_the_most_frequent_then_the_first_of_the_alphabet(made):
    source = nuswide(made, image_size=4)
    assert source.label_names[:5] == ("by", "az", "cx", "a1", "aa")
    assert len(source.label_names) == 21
    np.testing.assert_array_equal(source.label_NxC[:, 0], [1, 1, 1, 1, 0])
    np.testing.assert_array_equal(source.label_NxC.sum(1), [3, 1, 3, 1, 0])
    assert len(source) == 5
    assert source.notes == ("1 of 5 images have none of the 21 labels.",)


@pytest.mark.parametrize("form", ["{}", "C:\\ImageData\\Flickr\\{}", "/d/{}", "{}   "])
@pytest.mark.parametrize("end", ["\n", "\r\n", " \r\n"])
def test_prefixes_backslashes_and_blanks_of_the_list_do_not_matter(made, form, end):
    write_list(made, "Imagelist.txt", IMAGES, form, end)
    source = nuswide(made, image_size=4)
    assert source.images.name_N.tolist() == [f"Flickr/{image}" for image in IMAGES]


@pytest.mark.parametrize("file", ["ConceptsList/Concepts81.txt", "Concepts81.txt"])
def test_the_concept_list_says_which_label_files_count(made, file):
    (made / "ConceptsList").mkdir()
    (made / file).write_text("\r\n".join(NAMES) + "\r\n")
    write_column(made, "extra", "11111")
    assert nuswide(made, image_size=4, concepts=81).label_names == tuple(sorted(NAMES))


def test_the_lists_of_training_and_test_images_are_official(made):
    write_list(made, "TrainImagelist.txt", IMAGES[2:4], "C:\\ImageData\\Flickr\\{}")
    assert set(nuswide(made, image_size=4).official) == {"train"}
    write_list(made, "TestImagelist.txt", IMAGES[:1], "{} ", "\r\n")
    official = nuswide(made, image_size=4).official
    np.testing.assert_array_equal(official["train"], [False, False, True, True, False])
    np.testing.assert_array_equal(official["query"], [True, False, False, False, False])


def test_missing_images_leave_rows_out_of_everything_but_not_out_of_the_choice(made):
    for image in IMAGES[1:4]:
        (made / "Flickr" / image).unlink()
    write_list(made, "TestImagelist.txt", IMAGES[3:])
    with pytest.raises(ValueError, match="nuswide: 3 of 5 files are missing: Flickr/actor/0002_7"):
        nuswide(made, image_size=4)
    source = nuswide(made, image_size=4, skip="missing")
    assert source.images.name_N.tolist() == ["Flickr/actor/0001_21.jpg", "Flickr/zoo/9_9.jpg"]
    assert source.label_names[:3] == ("by", "az", "cx")
    np.testing.assert_array_equal(source.official["query"], [False, True])
    np.testing.assert_array_equal(source.label_NxC.sum(1), [3, 0])


@pytest.mark.parametrize("text", [b"0\n1\n1\n", b"0\r\n1\r\n1", b"0 \n1\t\n1\n\n \n", b"0\n1\n1"])
def test_a_column_with_any_end_of_line(tmp_path, text):
    (tmp_path / "column.txt").write_bytes(text)
    column = read_column(tmp_path / "column.txt", 3)
    assert column.dtype == np.uint8
    np.testing.assert_array_equal(column, [0, 1, 1])


# Errors.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"0\n2\n1\n", "column.txt line 2 is '2'; wanted is 0 or 1"),
        (b"0\n\n1\n1\n", "column.txt line 2 is ''"),
        (b"0\n01\n1\n", "column.txt line 2 is '01'"),
        (b"0\n1\r1\n", r"column.txt line 2 is '1\\r1'"),
        (b"0 1\n1\n", "column.txt line 1 is '0 1'"),
        (b"0\n1\n-1\n", "column.txt line 3 is '-1'"),
        (b"0\n1\nx\xff\n", "column.txt line 3 is 'x"),
        (b"", "column.txt line 1 is ''"),
        (b"0\n1\n", "column.txt has 2 lines, but ImageList/Imagelist.txt has 3"),
        (b"0\n1\n1\n1\n", "column.txt has 4 lines, but ImageList/Imagelist.txt has 3"),
    ],
)
def test_a_column_that_is_not_0_or_1_for_each_image_is_refused(tmp_path, text, message):
    (tmp_path / "column.txt").write_bytes(text)
    with pytest.raises(ValueError, match=message):
        read_column(tmp_path / "column.txt", 3)


@pytest.mark.parametrize("file", ["NUS_WID_Tags/AllTags81.txt", "AllTags81.txt"])
def test_user_tags_are_no_ground_truth(tmp_path, file):
    (tmp_path / "NUS_WID_Tags").mkdir()
    (tmp_path / file).touch()
    message = r"noisy user tags, no ground truth. Wanted are Groundtruth/AllLabels/Labels_<conc"
    with pytest.raises(ValueError, match=message):
        nuswide(tmp_path, image_size=4)


def test_missing_folders_are_named_with_what_is_there(made):
    (made / "Groundtruth").rename(made / "Truth")
    message = "holds Flickr, ImageList, Truth, but not Groundtruth/AllLabels: set data.data_dir"
    with pytest.raises(ValueError, match=message):
        nuswide(made, image_size=4)


def test_missing_label_files_are_named(made):
    labels = made / "Groundtruth" / "AllLabels"
    (labels / "Labels_by.txt").unlink()
    with pytest.raises(ValueError, match="AllLabels has 80 concepts; wanted are 81"):
        nuswide(made, image_size=4)
    (made / "Concepts81.txt").write_text("\n".join(NAMES))
    message = "lacks Labels_<concept>.txt of by, which .*Concepts81.txt names"
    with pytest.raises(ValueError, match=message):
        nuswide(made, image_size=4)


@pytest.mark.parametrize("line", ["0001_21.jpg", "", "actor\\"])
def test_a_line_of_a_list_that_is_no_path_is_named(made, line):
    write_list(made, "Imagelist.txt", [IMAGES[0], line, IMAGES[1]])
    with pytest.raises(
        ValueError, match=r"Imagelist.txt line 2 is .*; wanted is <folder>\\<image>"
    ):
        nuswide(made, image_size=4)


def test_an_image_in_train_and_query_is_refused(made):
    write_list(made, "TrainImagelist.txt", IMAGES[:3])
    write_list(made, "TestImagelist.txt", IMAGES[1:])
    message = "nuswide: 2 queries are also in train, such as Flickr/actor/0002_7.jpg"
    with pytest.raises(ValueError, match=message):
        nuswide(made, image_size=4)


def test_an_unknown_image_in_an_official_list_is_refused(made):
    write_list(made, "TestImagelist.txt", [*IMAGES[1:], "zoo/0003_1.jpg"])
    message = "TestImagelist.txt names 1 images that .* does not, such as Flickr/zoo/0003_1.jpg"
    with pytest.raises(ValueError, match=message):
        nuswide(made, image_size=4)


def test_an_image_twice_in_the_list_is_refused_or_counted(made):
    write_list(made, "Imagelist.txt", [*IMAGES[:4], IMAGES[0]])
    with pytest.raises(ValueError, match="1 of 5 files are named more than once"):
        nuswide(made, image_size=4)
    assert len(nuswide(made, image_size=4, skip="duplicate")) == 4


def test_another_number_of_concepts_is_refused(made):
    with pytest.raises(ValueError, match=r"data.concepts is 22; NUS-WIDE has 81, or the 21"):
        nuswide(made, image_size=4, concepts=22)
