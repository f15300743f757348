"""Tables of hand-made results beside the paper's numbers."""

import numpy as np

from dsh_jax.sweeps import comparison
from dsh_jax.sweeps.comparison import Row


def run(value, **more):
    return {"eval/map": value, "eval/chance": 0.1, **more}


ROWS = [
    Row("DHS", "paper", "ours", 51_000, {12: [run(0.5), run(0.7)], 24: [run(0.987)]}),
    Row("ITQ_a", "ssdh", "pixels", 0, {12: [], 24: []}, "it broke"),
]


def test_table_has_mean_and_deviation_the_paper_and_chance():
    cells = comparison.table_1(ROWS, {("DHS", 12): 0.985, ("ITQ_a", 24): 0.442}, [12, 24])
    assert cells == [
        ["method", "protocol", "backbone", "labels", "12", "24"],
        ["DHS", "paper", "ours", "51,000", ".600 ± .141 (.985)", ".987"],
        ["ITQ_a", "ssdh", "pixels", "0", "none", "none (.442)"],
        ["a random ranking", "paper", "", "0", ".100", ".100"],
    ]


def test_table_2_reads_precision_at_k_of_one_length():
    row = Row("DHS", "paper", "ours", 1, {48: [run(1.0, **{"eval/precision_at_200": 0.25})]})
    cells = comparison.table_2([row], {("DHS", 200): 0.93}, 48)
    assert cells[0][4:] == ["100", "200", "400", "600", "800", "1000"]
    assert cells[1][4:6] == ["none", ".250 (.930)"]


def test_printed_numbers_in_doubt_are_marked():
    row = Row("SDH", "ssdh", "pixels", 5000, {})
    cells = comparison.table_1([row], {("SDH", 12): 0.526, ("SDH", 24): 0.915}, [12, 24])
    assert cells[1][4:] == ["none (.526*)", "none (.915)"]


def test_notes_tell_what_is_missing_and_what_is_in_doubt():
    rows = [*ROWS, Row("SDH", "ssdh", "pixels", 5000, {})]
    said = comparison.notes(rows, "MNIST", {("SDH", 100): 0.72, ("SDH", 1000): 0.93})
    assert said[0] == "ITQ_a (ssdh): it broke."
    assert said[1].startswith("Marked *: the paper's SDH is in doubt: the method as published")
    assert "precision of SDH" in said[2]
    assert "test accuracy in disguise" in said[3]  # a row has the paper's protocol
    assert len(said) == 4
    said = comparison.notes([Row("SDH", "ssdh", "pixels", 1, {})], "CIFAR-10", {})
    assert said == []


def test_forms_of_a_table():
    cells = comparison.table_1(ROWS, {}, [12])
    assert comparison.to_markdown(cells).splitlines()[:2] == [
        "| method | protocol | backbone | labels | 12 |",
        "| --- | --- | --- | --- | --- |",
    ]
    assert comparison.to_csv(cells).splitlines()[1] == 'DHS,paper,ours,"51,000",.600 ± .141'
    latex = comparison.to_latex(cells).splitlines()
    assert latex[0] == r"\begin{tabular}{lllrr}"
    assert latex[4] == r"DHS & paper & ours & 51,000 & .600 $\pm$ .141 \\"
    assert latex[5].startswith(r"ITQ\_a & ssdh")


def test_figures_have_a_line_for_each_row_with_results():
    (line,) = comparison.figure_4(ROWS, [12, 24])
    assert line.name == "DHS"
    np.testing.assert_allclose(line.x, [12, 24])
    np.testing.assert_allclose(line.y, [0.6, 0.987])
    assert comparison.figure_5(ROWS, 24) == []
