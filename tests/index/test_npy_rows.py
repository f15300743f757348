"""Two plain files are the codes and their names."""

import numpy as np
import pytest

from dsh_jax.collection.image_codes import ImageCodes
from dsh_jax.index import npy_rows


def some(names):
    packed_NxW = np.random.default_rng(0).integers(0, 256, (len(names), 6), np.uint8)
    return ImageCodes(packed_NxW, names, np.ones((len(names), 2), np.int32), 48, "0123456789abcdef")


@pytest.mark.parametrize("names", [(), ("é/a b.jpg",), ("a.jpg", "b\nc.jpg", "\udcff.jpg")])
def test_what_is_read_is_what_was_written(tmp_path, names):
    codes = some(names)
    npy_rows.write(tmp_path / "new" / "codes.npy", codes)
    found = {path.name for path in (tmp_path / "new").iterdir()}
    assert found == {"codes.npy", "codes.txt"}
    np.testing.assert_array_equal(np.load(tmp_path / "new" / "codes.npy"), codes.packed_NxW)
    lines = (tmp_path / "new" / "codes.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(names)  # a name of two lines is one
    assert lines[:1] == list(names[:1])


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"does not end in \.npy"):
        npy_rows.write(tmp_path / "codes.txt", some(()))
