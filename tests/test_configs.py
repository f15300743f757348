"""Every config of every variant describes a run."""

import importlib

import numpy as np
import pytest
import tiny
from etils import epath

from configs import default
from configs.tables import methods
from dsh_jax.methods.deep import OBJECTIVES
from dsh_jax.network.blocks import scaled_filters
from dsh_jax.sweeps.sweep import check_points, expand_sweep
from dsh_jax.training import build, settings, stages
from dsh_jax.training.run_folder import flatten

FOLDER = epath.Path(default.__file__).parent
NAMES = sorted({path.stem for path in FOLDER.glob("*.py")} - {"__init__", "recipes"})
EXTRA = {"cifar10": ("cpu", "three_groups", "semi_cpu"), "mirflickr": ("subset",)}
USUAL = ("intended", "printed", "printed_small", "modern", "semi", "smoke")
VARIANTS = [(name, variant) for name in NAMES for variant in (*USUAL, *EXTRA.get(name, ()))]
SIDES = {"digits": (32, 1), "mnist": (28, 1), "cifar10": (32, 3)}  # of the images, with channels


def get_config(name, variant):
    return importlib.import_module(f"configs.{name}").get_config(variant)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_config_has_the_fields_of_the_default_and_no_other(name, variant):
    config = get_config(name, variant)
    assert flatten(config.to_dict()).keys() == flatten(default.get_config().to_dict()).keys()
    assert config.variant == variant


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_config_builds_network_and_stages(name, variant):
    config = get_config(name, variant)
    side, channels = SIDES.get(config.data.name, (config.data.image_size, 3))
    model = build.make_model(config, tiny.source(side=side, channels=channels))
    prior_C = np.full(model.classes, 0.1, np.float32)
    made = stages.make_stages(config, model, 100, multilabel=True, prior_C=prior_C)
    assert made[-1].stop > 0
    assert settings.duration(config.evaluation, "validate_every", 100) > 0


@pytest.mark.parametrize("name", NAMES)
def test_unknown_variant_is_refused_by_the_known_ones(name):
    with pytest.raises(ValueError, match=r"unknown variant 'moden'; known: .*modern"):
        get_config(name, "moden")


@pytest.mark.parametrize("name", NAMES)
def test_printed_is_the_papers_network_and_adds_nothing(name):
    """Section 3.2: 64, 128, 256, 512, 512 filters, whatever the data; no augmentation is named."""
    config, small = get_config(name, "printed"), get_config(name, "printed_small")
    assert scaled_filters(config.model.width) == (64, 128, 256, 512, 512)
    assert scaled_filters(small.model.width) == (16, 32, 64, 128, 128)
    nothing = default.get_config().augment.to_dict()
    assert config.augment.to_dict() == small.augment.to_dict() == nothing
    assert config.loss.r == small.loss.r == 0  # the objective has no such term
    assert config.training.mode == "two_stage"
    assert config.model.convs_per_group == (1, 1, 1, 1, 1)
    # What the small one is called, and its sizes, are all that differ.
    found, other = flatten(config.to_dict()), flatten(small.to_dict())
    differing = {key for key in found if found[key] != other[key]}
    assert differing == {"variant", "model.width", "model.fc_dim"}


@pytest.mark.parametrize("variant", ["digits", "mnist"])
def test_the_sweep_of_methods_trains_each_with_the_same_steps(variant):
    config = methods.get_config(variant)
    points = expand_sweep(config.sweep, kind="grid", points=0, seed=0)
    check_points(config.to_dict(), points)
    assert {point["method"] for point in points} == {"dhs", *OBJECTIVES}
    assert len(points) == 3 * (1 + len(OBJECTIVES))
    side, channels = SIDES[variant]
    for point in points[::3]:
        one = config.copy_and_resolve_references()
        one.update_from_flattened_dict(point)
        model = build.make_model(one, tiny.source(side=side, channels=channels))
        (stage,) = stages.make_stages(one, model, 100, multilabel=False)
        assert stage.stop == methods.STEPS[variant]
    with pytest.raises(ValueError, match="unknown variant 'cifar10'; known: digits, mnist"):
        methods.get_config("cifar10")
