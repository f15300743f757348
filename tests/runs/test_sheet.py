"""The picture of what a run found has its queries, and the images that are nearest."""

import numpy as np
import pytest
import tiny

from dsh_jax.runs import sheet


def test_rows_are_the_first_query_of_each_label_and_unseen_images(
    run, folder, evaluation, monkeypatch
):
    drawn = []
    monkeypatch.setattr(sheet.gallery, "neighbour_sheet", drawn.append)
    sheet.neighbour_sheet(folder, queries=3, count=4)
    (found,) = drawn
    assert found.query_label == ["0", "1", "2"]
    label_Q = run.source.label_NxC[run.split.query].argmax(axis=1)
    rows = [run.split.query[np.flatnonzero(label_Q == label)[0]] for label in range(3)]
    np.testing.assert_array_equal(found.query_image, run.source.pictures.take(np.array(rows)))
    packed = evaluation.encoded["unseen"].packed_NxW
    queries = evaluation.encoded["query"].packed_NxW[[np.argmax(label_Q == x) for x in range(3)]]
    distance = np.bitwise_count(queries[:, None] ^ packed).sum(axis=-1)
    np.testing.assert_array_equal(found.distance, np.sort(distance, axis=1)[:, :4])


def test_it_is_a_picture(folder, evaluation):
    picture = sheet.neighbour_sheet(folder, queries=2, count=3)
    assert picture.mode == "RGB"
    assert picture.width == 8 + 4 * (96 + 8)


def test_a_folder_that_is_not_evaluated_says_what_to_do(tmp_path):
    config = tiny.config()
    (tmp_path / "config.json").write_text(config.to_json_best_effort())
    with pytest.raises(ValueError, match=r"holds no evaluation: python -m experiments\.evaluate"):
        sheet.neighbour_sheet(tmp_path)
