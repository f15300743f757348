"""The paper's printed numbers, and which of them are in doubt."""

import pytest
from etils import epath

from dsh_jax.sweeps import printed

PAPER = epath.Path(__file__).parents[2] / "experiments" / "paper"


def test_paper_has_every_number():
    table_1 = printed.read_paper(PAPER / "table1_map.csv", "MNIST")
    assert len(table_1) == 13 * 4
    assert table_1["DHS", 12] == 0.985
    assert table_1["SDH-VGGF", 32] == 0.943  # printed 0943
    table_2 = printed.read_paper(PAPER / "table2_precision.csv", "MNIST")
    assert len(table_2) == 13 * 6
    with pytest.raises(ValueError, match="no table of 'Mnist'; it has CIFAR-10, MIRFLICKR, MNIST"):
        printed.read_paper(PAPER / "table1_map.csv", "Mnist")


def doubted(dataset):
    found = []
    for file in ("table1_map.csv", "table2_precision.csv"):
        paper = printed.read_paper(PAPER / file, dataset)
        found += [key for key in paper if printed.cell(paper, *key).endswith("*")]
    return found


def test_cells_in_doubt_are_those_of_sdh():
    ks = (100, 200, 400, 600, 800, 1000)
    rising = [(name, k) for name in ("SDH-VGGF", "SDH") for k in ks]
    mnist = [("SDH-VGGF", 12), ("SDH-VGGF", 32), ("SDH", 12)]
    assert doubted("MNIST") == mnist + rising
    assert doubted("CIFAR-10") == [("SDH-VGGF", 48), *rising]


def test_cell_by_hand():
    paper = {("SDH", 12): 0.526, ("ITQ", 100): 0.5, ("ITQ", 1000): 0.59, ("DHS", 800): 1.0}
    assert printed.cell(paper, "SDH", 12) == ".526*"
    assert printed.cell(paper, "SDH", 24) == ""
    assert printed.cell(paper, "ITQ", 100) == ".500"  # it rises by less
    assert printed.cell(paper | {("ITQ", 1000): 0.6}, "ITQ", 100) == ".500*"
    assert printed.cell(paper, "DHS", 800) == "1.000"
