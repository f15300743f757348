"""Lines that a reader can tell apart."""

import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure

from dsh_jax import plots


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_thirteen_methods_have_thirteen_looks(scheme):
    curves = [plots.Curve(f"method {row}", np.arange(2.0), np.arange(2.0)) for row in range(13)]
    with matplotlib.style.context(["default", plots.style(scheme)]):
        axes = Figure().subplots()
        plots.draw_lines(axes, curves, xlabel="bits")
        looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines]
    assert len({(colour, marker) for colour, _, marker in looks}) == 13
    assert len({(colour, dash) for colour, dash, _ in looks}) >= 13
