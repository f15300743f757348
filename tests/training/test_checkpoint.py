"""States come back bit for bit; the latest two and the best are kept."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging
from damage import damage

from dsh_jax.training.checkpoint import Checkpoints, digest
from dsh_jax.training.step import TrainState


def make_state(step, *, filters=3, ema=False):
    params = {"conv": {"kernel": jnp.full((2, filters), step + 0.1)}, "bias": jnp.ones(filters)}
    return TrainState(
        step=jnp.asarray(step, jnp.int32),
        params=params,
        batch_stats={},
        opt_state=(jnp.zeros((), jnp.int32), {"momentum": jnp.full(filters, 1 / 3)}),
        ema={"params": params, "batch_stats": {}} if ema else None,
        key=jax.random.PRNGKey(step),
    )


def save(folder, maps):
    """Save a state at steps 1, 2, … with the given validation mAPs."""
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        for step, value in enumerate(maps, start=1):
            checkpoints.save(step, make_state(step), validation_map=value)


def kept(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


@pytest.mark.parametrize("ema", [False, True])
def test_state_comes_back_bit_for_bit(tmp_path, ema):
    state = make_state(7, ema=ema)
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(7, state, validation_map=0.5)
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        restored = checkpoints.restore(7, jax.eval_shape(lambda: state))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for saved, wanted in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert isinstance(saved, np.ndarray)
        assert saved.dtype == wanted.dtype
        np.testing.assert_array_equal(saved, wanted)


def test_several_runs_of_a_process_save_at_once(tmp_path):
    folders = [tmp_path / str(number) for number in range(8)]
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(contextlib.closing(Checkpoints(one))) for one in folders]
        for step in (1, 2):
            for number, checkpoints in enumerate(every):
                checkpoints.save(step, make_state(10 * number + step), validation_map=0.5)
        for number, checkpoints in enumerate(every):
            for step in (1, 2):
                state = make_state(10 * number + step)
                restored = checkpoints.restore(step, state)
                np.testing.assert_array_equal(restored.step, state.step)


def test_saving_does_not_wait_for_the_disk_but_holds_its_own_copy(tmp_path):
    state = make_state(1)
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(1, state, validation_map=0.5)
        state.params["bias"].delete()  # as the next step's donation does
        checkpoints.wait()
        restored = checkpoints.restore(1, make_state(1))
    np.testing.assert_array_equal(restored.params["bias"], np.ones(3))


def test_latest_two_and_the_best_are_kept(tmp_path):
    save(tmp_path, [0.1, 0.9, 0.2, 0.3, 0.4])
    assert kept(tmp_path) == [2, 4, 5]
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        assert checkpoints.latest_step() == 5
        assert checkpoints.best_step() == 2
        np.testing.assert_array_equal(checkpoints.restore(2, make_state(0)).step, 2)


def test_best_is_the_latest_where_none_was_validated(tmp_path):
    save(tmp_path, [-1.0, -1.0, -1.0])
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        assert checkpoints.best_step() == 3


def test_best_is_found_again_after_a_restart(tmp_path):
    save(tmp_path, [0.1, 0.9, 0.2])
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(4, make_state(4), validation_map=0.5)
        checkpoints.save(5, make_state(5), validation_map=0.6)
    assert kept(tmp_path) == [2, 4, 5]


def test_empty_folder_has_no_steps(tmp_path):
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        assert checkpoints.latest_step() is None
        assert checkpoints.best_step() is None


def test_relative_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("run", [0.5])
    assert kept(tmp_path / "run") == [1]


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (
            make_state(0, filters=4),
            r"3 arrays differ, e\.g\. opt_state\.1\.momentum: saved \(3,\), wanted \(4,\); "
            r"params\.bias: .*; params\.conv\.kernel: saved \(2, 3\), wanted \(2, 4\)\. Use the",
        ),
        (
            make_state(0, ema=True),
            r"2 arrays differ, e\.g\. ema\.params\.bias: saved absent, wanted \(3,\)",
        ),
    ],
)
def test_another_architecture_is_refused_by_the_names_of_its_arrays(tmp_path, like, message):
    save(tmp_path, [0.5])
    with (
        contextlib.closing(Checkpoints(tmp_path)) as checkpoints,
        pytest.raises(ValueError, match=message),
    ):
        checkpoints.restore(1, like)


# Damage.


HOWS = ["truncated", "emptied", "flipped", "gone"]
HOWS += ["metrics truncated", "metrics emptied", "metrics gone"]
HOWS += ["description emptied", "description truncated", "description gone"]


# Orbax leaves coroutines behind where it cannot read, which the garbage collector complains of.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_checkpoint_is_named_put_aside_and_the_one_before_serves(tmp_path, caplog, how):
    logging.get_absl_logger().propagate = True
    save(tmp_path, [0.1, 0.2, 0.3])
    damage(tmp_path, 3, how)
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        saved = checkpoints.restore_latest(make_state)
        assert saved.step == 2
        np.testing.assert_array_equal(saved.state.step, 2)
        checkpoints.save(3, make_state(3), validation_map=0.4)  # its step is free again
    (message,) = [m for m in caplog.messages if "is damaged" in m]
    assert f"the checkpoint {tmp_path}/checkpoints/3 is damaged (" in message
    assert [path.name for path in (tmp_path / "damaged").iterdir()] == ["3-0"]
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        assert checkpoints.restore_best(make_state).step == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_best_checkpoint_gives_way_to_the_next_best(tmp_path):
    save(tmp_path, [0.1, 0.9, 0.2, 0.3])
    damage(tmp_path, 2, "flipped")
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        assert checkpoints.restore_best(make_state).step == 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_where_all_are_damaged_there_is_none(tmp_path):
    save(tmp_path, [0.1])
    damage(tmp_path, 1, "emptied")
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        assert checkpoints.restore_latest(make_state) is None


def test_what_else_is_saved_comes_back(tmp_path):
    extra = {"window": {"loss": [1 / 3, 0.1]}}
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(1, make_state(1), validation_map=0.5, extra=extra)
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        assert checkpoints.restore_latest(make_state).extra == extra


def test_digest_tells_every_bit_and_shape():
    state = {"a": np.zeros((2, 3), np.float32), "b": np.ones(2)}
    others = [
        {"a": -state["a"], "b": state["b"]},  # the sign of zero
        {"a": state["a"].reshape(3, 2), "b": state["b"]},
        {"a": state["a"].view(np.int32), "b": state["b"]},
        {"c": state["a"], "b": state["b"]},
    ]
    assert len({digest(tree) for tree in (state, *others)}) == 5
    assert digest(state) == digest(jax.tree.map(np.copy, state))
