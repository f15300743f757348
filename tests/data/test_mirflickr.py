"""MIRFLICKR's layout, made small and as the real subset has it."""

import numpy as np
import pytest
from PIL import Image
from places import SUBSET

from dsh_jax.data.mirflickr import CONCEPTS, POTENTIAL, RELEVANT, mirflickr


@pytest.fixture
def made(tmp_path):
    """Images 1, 2, 4 and 10, of which 4 has no label; 7 is annotated but is not there."""
    (tmp_path / "mirflickr" / "meta").mkdir(parents=True)
    for number in (10, 2, 1, 4):
        Image.new("RGB", (8, 6), "red").save(tmp_path / "mirflickr" / f"im{number}.jpg")
    (tmp_path / "mirflickr" / "notes.jpg").touch()
    annotations = tmp_path / "mirflickr25k_annotations_v080"
    annotations.mkdir()
    (annotations / "README.txt").write_text("No concept.")
    (annotations / "._sky.txt").touch()
    for name in CONCEPTS[38]:
        (annotations / f"{name}.txt").touch()
    (annotations / "animals.txt").write_text("1\r\n10\r\n")
    (annotations / "baby.txt").write_text("2\n7\n10")
    (annotations / "baby_r1.txt").write_text("10\n\n")
    (annotations / "water.txt").write_text("2\n7\n")
    return tmp_path


def test_rows_are_ordered_by_number_and_labelled_by_the_concept_files(made):
    source = mirflickr(made, image_size=4)
    names = [f"mirflickr/im{number}.jpg" for number in (1, 2, 4, 10)]
    assert source.images.name_N.tolist() == names
    assert source.label_names == POTENTIAL
    assert source.multilabel
    assert source.official == {}
    wanted = np.zeros((4, 24), np.uint8)
    wanted[[0, 3], 0] = wanted[[1, 3], 1] = wanted[1, 23] = 1
    np.testing.assert_array_equal(source.label_NxC, wanted)


def test_gaps_and_what_is_without_an_image_or_a_label_are_counted(made):
    assert mirflickr(made, image_size=4).notes == (
        "6 of the numbers 1 to 10 have no image.",
        "1 annotated images are not there.",
        "1 images have none of the 24 labels.",
    )


def test_concepts_are_alphabetical_with_the_potential_before_the_relevant(made):
    assert {n: len(names) for n, names in CONCEPTS.items()} == {24: 24, 14: 14, 38: 38}
    assert CONCEPTS[38][:6] == ("animals", "baby", "baby_r1", "bird", "bird_r1", "car")
    assert sorted(POTENTIAL) == list(POTENTIAL)
    assert sorted(RELEVANT) == list(RELEVANT)
    all_of_them = mirflickr(made, image_size=4, concepts=38)
    np.testing.assert_array_equal(all_of_them.label_NxC[3].nonzero()[0], [0, 1, 2])
    relevant = mirflickr(made, image_size=4, concepts=14)
    assert relevant.label_names == RELEVANT
    np.testing.assert_array_equal(relevant.label_NxC.sum(1), [0, 0, 0, 1])


def test_the_relevant_files_are_not_needed_for_the_potential_concepts(made):
    for name in RELEVANT:
        (made / "mirflickr25k_annotations_v080" / f"{name}.txt").unlink()
    assert len(mirflickr(made, image_size=4)) == 4
    with pytest.raises(ValueError, match=r"lacks the concept files \['baby_r1', .*'tree_r1'\]"):
        mirflickr(made, image_size=4, concepts=38)


@pytest.mark.parametrize("concepts", [14, 24, 38])
def test_the_real_subset(concepts):
    if not SUBSET.is_dir():
        pytest.skip(f"the subset is not under {SUBSET}")
    source = mirflickr(SUBSET, image_size=16, concepts=concepts)
    assert len(source) == 2955
    assert source.notes[0] == "45 of the numbers 1 to 3,000 have no image."
    if concepts == 24:
        assert source.notes[1:] == ("51 images have none of the 24 labels.",)
        assert source.label_NxC.sum(1).mean() == pytest.approx(3.57, abs=0.005)
    if concepts == 38:  # a relevant label goes with its potential one
        column = {name: source.label_NxC[:, c] for c, name in enumerate(source.label_names)}
        assert all((column[name] <= column[name[:-3]]).all() for name in RELEVANT)
    assert source.images.take(np.array([0, 2954])).shape == (2, 16, 16, 3)


# Errors.


def test_folders_that_are_not_there_are_named_with_what_is(made):
    (made / "mirflickr").rename(made / "photos")
    with pytest.raises(ValueError, match=r"_v080, photos, but not mirflickr: set data.data_dir"):
        mirflickr(made, image_size=4)
    with pytest.raises(
        ValueError, match="nowhere holds nothing, but not mirflickr and mirflickr25"
    ):
        mirflickr(made / "nowhere", image_size=4)


def test_missing_and_unknown_concept_files_are_named(made):
    annotations = made / "mirflickr25k_annotations_v080"
    (annotations / "sky.txt").rename(annotations / "heaven.txt")
    message = r"lacks the concept files \['sky'\] and has the unknown ones \['heaven'\]: unpack"
    with pytest.raises(ValueError, match=message):
        mirflickr(made, image_size=4)


@pytest.mark.parametrize("text", ["im7", "-1", "2.0", "²", "1 2"])
def test_a_line_that_is_no_number_is_named(made, text):
    (made / "mirflickr25k_annotations_v080" / "sky.txt").write_text(f"1\n{text}\n2\n")
    with pytest.raises(ValueError, match=rf"sky.txt line 2 is '{text}'; wanted is the number"):
        mirflickr(made, image_size=4)


def test_a_concept_file_that_is_no_text_is_refused(made):
    (made / "mirflickr25k_annotations_v080" / "sky.txt").write_bytes(b"\xff\xfe1\n")
    with pytest.raises(ValueError, match=r"sky.txt cannot be read as UTF-8 text"):
        mirflickr(made, image_size=4)


def test_a_folder_without_images_is_refused(made):
    for path in (made / "mirflickr").glob("im*.jpg"):
        path.unlink()
    with pytest.raises(ValueError, match=r"mirflickr holds no im<N>.jpg: unpack the images there"):
        mirflickr(made, image_size=4)


def test_another_number_of_concepts_is_refused(made):
    with pytest.raises(ValueError, match=r"data.concepts is 25; MIRFLICKR has \[14, 24, 38\]"):
        mirflickr(made, image_size=4, concepts=25)
