"""The notebook runs, and says what it is printed to say."""

import base64
import io

import notebook
import pytest
from commands import ROOT
from PIL import Image

PATH = ROOT / "docs" / "first_steps.ipynb"


@pytest.fixture(scope="module")
def ran():
    return notebook.run(PATH)


def test_it_prints_what_it_was_kept_with(ran):
    kept, found = ran
    cells = [cell for cell in kept["cells"] if cell["cell_type"] == "code"]
    for cell, outputs in zip(cells, found, strict=True):
        assert [one.get("text") for one in cell["outputs"]] == [one.get("text") for one in outputs]


def test_it_ends_with_a_picture_and_is_small(ran):
    _, found = ran
    data = base64.b64decode(found[-1][-1]["data"]["image/png"])
    width, height = Image.open(io.BytesIO(data)).size
    assert width == 8 + 8 * (96 + 8)  # eight tiles, of 12 times 8 pixels
    assert height > 5 * (96 + 8)
    assert len(PATH.read_bytes()) < 60_000
