"""Training steps in one program, as XLA makes them for an H100."""

import importlib

import h100
import jax
import pytest
from places import PREPARED

from dsh_jax import parallel
from dsh_jax.data import resident
from dsh_jax.training import build, stages


def chunk(variant: str, count: int):
    """Return `count` steps of a config as one program of one device, and the shapes it takes."""
    path, name = variant.split(":")
    config = importlib.import_module(f"configs.{path}").get_config(name)
    run = build.build(config)
    stage = stages.one_device_stages(
        config, run.model, run.steps_per_epoch, run.source.multilabel, run.prior_C
    )[-1]

    def steps(state, arrays):
        def one(state, _):
            batch = resident.batch_at(
                arrays,
                state.step,
                jax.lax.axis_index(parallel.AXIS),
                batch=stage.batch,
                labelled_share=run.labelled_share,
                devices=1,
            )
            return stage.step(state, batch)

        return jax.lax.scan(one, state, length=count)

    return steps, (run.state_shapes(stage.stop), run.arrays(run.stages[-1]))


@pytest.mark.slow
@h100.needs_compiler
@pytest.mark.skipif(not PREPARED.exists(), reason="no prepared data sets")
@pytest.mark.parametrize("variant", ["mnist:modern", "cifar10:modern"])
def test_h100_steps_are_one_loop_without_the_host(variant, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(PREPARED))
    facts = h100.compiled("tests.training.test_chunk_on_h100:chunk", variant=variant, count=50)
    assert facts["trips"].count(50) == 1
    # Nothing is sent, received or called back: cuDNN's convolutions are all that XLA hands on.
    assert all(name.startswith("__cudnn$conv") for name in facts["custom_calls"])
    assert sum(count for shape, count in facts["copies"].items() if "[3,3,512,512]" in shape) <= 4
    assert not facts["float64"]
    assert facts["temporary"] < 2**30
