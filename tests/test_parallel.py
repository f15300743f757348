"""Four devices do what one would, and a forgotten average is noticed."""

import threading
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsh_jax import parallel


class Counter(NamedTuple):
    step: jax.Array


def least_squares_step(average):
    """Return a step of gradient descent on a mean of squares, with the given average."""

    def step(state, batch):
        loss, gradient = jax.value_and_grad(lambda w: ((batch @ w - 1) ** 2).mean())(state["w"])
        gradient, loss = average((gradient, loss))
        return {"w": state["w"] - gradient, "step": state["step"] + 1}, loss

    return step


def one_step(average):
    batch_NxF = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    state = {"w": jnp.ones(3), "step": jnp.zeros((), jnp.int32)}
    step = parallel.parallel_step(least_squares_step(average))
    return batch_NxF, step(state, batch_NxF.reshape(4, 2, 3))


def averaged(tree):
    return jax.lax.pmean(tree, parallel.AXIS)


@pytest.fixture(params=["pmap", "shard_map"])
def mapped(request, monkeypatch):
    """Map as one process does, then as several do."""
    monkeypatch.setattr(parallel.processes, "holds_all_devices", lambda: request.param == "pmap")
    return request.param


def test_four_devices_are_there():
    assert parallel.device_count() == 4


@pytest.mark.usefixtures("mapped")
def test_parallel_step_computes_what_one_device_would():
    batch_NxF, (state, loss) = one_step(averaged)
    one = {"w": jnp.ones(3), "step": jnp.zeros((), jnp.int32)}
    wanted, wanted_loss = least_squares_step(lambda tree: tree)(one, batch_NxF)
    np.testing.assert_allclose(state["w"], wanted["w"], rtol=1e-6)
    np.testing.assert_allclose(loss, wanted_loss, rtol=1e-6)


def test_both_maps_give_the_same_bits(monkeypatch):
    _, by_pmap = one_step(averaged)
    monkeypatch.setattr(parallel.processes, "holds_all_devices", lambda: False)
    _, by_shard_map = one_step(averaged)
    jax.tree.map(np.testing.assert_array_equal, by_pmap, by_shard_map)


@pytest.mark.parametrize("count", [1, 3])
def test_steps_on_resident_arrays_see_the_devices_in_order(mapped, count):
    def step(state, batch):
        return Counter(state.step + 1), parallel.all_rows(batch, parallel.AXIS)

    def sample(arrays, step, device):
        return jnp.stack([arrays[step], device.astype(jnp.float32)])[None]

    state = parallel.replicate_everywhere(Counter(np.zeros((), np.int32)))
    arrays = parallel.replicate_everywhere(np.arange(10, 14, dtype=np.float32))
    state, seen = parallel.parallel_steps(step, sample, count)(state, arrays)
    assert state.step == count
    np.testing.assert_array_equal(
        seen, [[[10 + i, device] for device in range(4)] for i in range(count)]
    )


@pytest.mark.usefixtures("mapped")
def test_state_stays_unreplicated():
    _, (state, loss) = one_step(averaged)
    assert state["w"].shape == (3,)
    assert loss.shape == ()


@pytest.mark.usefixtures("mapped")
def test_assert_replicated_passes_a_step_that_averages():
    _, outputs = one_step(averaged)
    parallel.assert_replicated(outputs)


@pytest.mark.usefixtures("mapped")
def test_assert_replicated_names_the_array_that_was_not_averaged():
    _, outputs = one_step(lambda tree: tree)
    with pytest.raises(ValueError, match=r"device 1 holds other values of \[0\]\['w'\] than"):
        parallel.assert_replicated(outputs)


def test_assert_replicated_passes_over_what_is_on_one_device_or_none():
    parallel.assert_replicated({"host": np.ones(2), "one": jnp.ones(2), "none": None})


def test_replicate_gives_every_device_the_same_bits():
    replicated = parallel.replicate({"w": np.arange(3.0), "none": None})
    assert len(replicated["w"].addressable_shards) == 4
    parallel.assert_replicated(replicated)


@pytest.mark.usefixtures("mapped")
def test_a_replicated_state_compiles_once():
    traces = []

    def counted(tree):
        traces.append(1)
        return averaged(tree)

    step = parallel.parallel_step(least_squares_step(counted))
    state = {"w": np.ones(3, np.float32), "step": np.zeros((), np.int32)}
    state = parallel.replicate_everywhere(state)
    for batch in parallel.prefetch([np.ones((4, 2, 3), np.float32)] * 3):
        state, _ = step(state, batch)
    assert len(traces) == 1


@pytest.mark.usefixtures("mapped")
def test_a_step_takes_the_memory_of_its_state():
    state = {"w": np.ones(3, np.float32), "step": np.zeros((), np.int32)}
    state = parallel.replicate_everywhere(state)
    batch = parallel.shard_everywhere(np.ones((4, 2, 3), np.float32))
    parallel.parallel_step(least_squares_step(averaged))(state, batch)
    assert state["w"].is_deleted()
    assert not batch.is_deleted()


@pytest.mark.usefixtures("mapped")
def test_parallel_apply_keeps_the_device_axis():
    apply = parallel.parallel_apply(lambda variables, batch: batch * variables)
    np.testing.assert_array_equal(
        apply(2, np.arange(8).reshape(4, 2)), [[0, 2], [4, 6], [8, 10], [12, 14]]
    )


def test_all_rows_are_those_of_one_device_in_order():
    row_NxF = np.arange(24.0).reshape(8, 3)
    gather = jax.pmap(lambda row: parallel.all_rows(row, parallel.AXIS), axis_name=parallel.AXIS)
    gathered = gather(row_NxF.reshape(4, 2, 3))
    for device in range(4):
        np.testing.assert_array_equal(gathered[device], row_NxF)
    assert parallel.all_rows(row_NxF, None) is row_NxF


def test_prefetch_keeps_order_and_spreads_rows_over_devices():
    batches = [{"row": np.full((4, 2), number)} for number in range(5)]
    seen = list(parallel.prefetch(batches))
    assert [int(batch["row"][0, 0]) for batch in seen] == [0, 1, 2, 3, 4]
    assert [shard.data.shape for shard in seen[0]["row"].addressable_shards] == [(1, 2)] * 4


def test_prefetch_raises_what_its_batches_raise():
    def broken():
        yield np.zeros((4, 1))
        raise RuntimeError("the disk is gone")

    batches = parallel.prefetch(broken())
    next(batches)
    with pytest.raises(RuntimeError, match="the disk is gone"):
        next(batches)


def test_closed_prefetch_leaves_no_thread():
    def endless():
        while True:
            yield np.zeros((4, 1))

    before = threading.active_count()
    batches = parallel.prefetch(endless())
    next(batches)
    assert threading.active_count() == before + 1
    batches.close()
    assert threading.active_count() == before


def test_blocks_add_up_on_their_own_devices():
    devices = parallel.device_count()
    step = parallel.parallel_blocks(lambda carry, common, block: carry + common * block)
    block = np.arange(2.0 * devices).reshape(devices, 2)
    carry = step(np.ones((devices, 2)), 3.0, parallel.shard(block))
    np.testing.assert_array_equal(carry, 1 + 3 * block)
    assert len({shard.device for shard in carry.addressable_shards}) == devices


def test_idle_gpus_are_said(tmp_path, monkeypatch, caplog):
    for number in range(8):
        (tmp_path / f"nvidia{number}").touch()
    monkeypatch.setattr(parallel.processes, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    variables = {"NUM_TASKS": "2", "NUM_NODES": "2", "NODELIST": "n[1-2]"}
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_STEP_{name}", value)
    monkeypatch.setattr(jax.distributed, "initialize", lambda **_: None)
    monkeypatch.setattr(parallel.processes, "device_count", lambda: 1)
    with caplog.at_level("WARNING"):
        parallel.connect()
        assert not caplog.text  # JAX is on a CPU
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        parallel.connect()
        assert "7 GPUs of this machine stand idle" in caplog.text
        caplog.clear()
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        parallel.connect()
        assert not caplog.text
