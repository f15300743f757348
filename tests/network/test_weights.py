"""Arrays by name: their files, their order of axes, and what is said where they do not fit."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from dsh_jax.network.weights import filled, read_weights


class Net(nn.Module):
    """One layer of each kind."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="conv")(x)
        x = nn.BatchNorm(use_running_average=True, name="norm")(x)
        x = nn.Dense(5, use_bias=False, name="point")(x)
        return nn.Dense(2, name="out")(x.mean(axis=(1, 2)))


LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def name_of(_, path):
    return f"{path[0]}.{LEAVES.get(path[-1], path[-1])}"


def template():
    return jax.eval_shape(Net().init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


def arrays():
    shapes = {
        "conv.weight": (4, 3, 3, 3),
        "conv.bias": (4,),
        **{f"norm.{leaf}": (4,) for leaf in ("weight", "bias", "running_mean", "running_var")},
        "point.weight": (5, 4, 1, 1),
        "out.weight": (2, 5),
        "out.bias": (2,),
    }
    generator = np.random.default_rng(0)
    return {name: generator.uniform(0.5, 1.5, size=shape) for name, shape in shapes.items()}


def test_kernels_are_turned_and_the_network_computes_what_the_arrays_say():
    given = arrays()
    x = np.random.default_rng(1).normal(size=(2, 6, 6, 3)).astype(np.float32)
    actual = Net().apply(filled(template(), given, name_of), x)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = sum(
        padded[:, i : i + 6, j : j + 6] @ given["conv.weight"][:, :, i, j].T
        for i in range(3)
        for j in range(3)
    )
    y = y + given["conv.bias"] - given["norm.running_mean"]
    y = y / np.sqrt(given["norm.running_var"] + 1e-5) * given["norm.weight"] + given["norm.bias"]
    y = (y @ given["point.weight"][:, :, 0, 0].T).mean(axis=(1, 2))
    expected = y @ given["out.weight"].T + given["out.bias"]
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_every_name_that_does_not_fit_is_listed():
    given = arrays()
    del given["conv.bias"], given["norm.running_var"]
    given["out.weight"] = given["out.weight"].T
    given |= {"fc.weight": np.zeros(3), "steps": np.zeros(())}
    with pytest.raises(ValueError, match="mine do not fit the network") as error:
        filled(template(), given, name_of, ignored=lambda name: name == "steps", source="mine")
    said = str(error.value)
    assert "missing: conv.bias, norm.running_var;" in said
    assert "of another shape: out.weight is (5, 2), not (2, 5);" in said
    assert "left over: fc.weight" in said
    assert "steps" not in said


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_reads_what_was_written(tmp_path, suffix):
    given, path = arrays(), tmp_path / f"net{suffix}"
    if suffix == ".npz":
        np.savez(path, **given)
    else:
        safetensors.numpy.save_file(given, path)
    found = read_weights(path)
    assert found.keys() == given.keys()
    for name, array in given.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("name", ["net.npz", "net.safetensors", "net.pth", "net.pt", "net.h5"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"\xff" * 100])
def test_damaged_and_foreign_files_end_in_an_error_that_names_them(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name):
        read_weights(path)


def test_objects_in_an_npz_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "net.npz", w=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"no \.npz file of plain arrays"):
        read_weights(tmp_path / "net.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"net.npz is not there; pass the path of a .safetensors"):
        read_weights(tmp_path / "net.npz")
