"""What each part of a recipe is worth: trainings of equal time, each without one part."""

import json
import time

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import parallel
from dsh_jax.runs import train
from dsh_jax.training import build
from dsh_jax.training.lock import locked
from dsh_jax.training.records import read_metrics

TIMED = 12  # steps that are timed, the first of which compiles
RECIPE = "the recipe"
SGD = {"optimizer.name": "sgd", "optimizer.held_norms": False, "optimizer.momentum": 0.9}
ROWS = {
    RECIPE: {},
    "whitening": {"model.whitening": 2},
    "SGD at .1": {**SGD, "optimizer.learning_rate": 0.1},
    "SGD at .4": {**SGD, "optimizer.learning_rate": 0.4},
    "AdamW at .002": {
        "optimizer.name": "adamw",
        "optimizer.held_norms": False,
        "optimizer.learning_rate": 2e-3,
    },
    "kernels not held at .24": {
        "optimizer.held_norms": False,
        "optimizer.learning_rate": 0.24,
    },
    "norm momentum .9": {"model.norm_momentum": 0.9},
    "norms with factors": {"model.norm_scale": True},
    "norm before the pool": {"model.pool_before_norm": False},
    "ReLU": {"model.nonlinearity": "relu"},
    "He initialisation": {"model.kernel_init": "he"},
    "shifts filled with zeros": {"augment.shift_border": "zeros"},
    "flips at random": {"augment.flip_by_epoch": False},
    "cutout of 8": {"augment.cutout": 8},
    "no label smoothing": {"loss.label_smoothing": 0.0},
    "cosine schedule": {"optimizer.schedule": "cosine"},
    "one-cycle schedule": {"optimizer.schedule": "one_cycle", "optimizer.warmup": 0.25},
    "average of weights (.99)": {"training.ema_decay": 0.99},
    "batches of 250": {"training.batch_size": 250},
    "batches of 1000": {"training.batch_size": 1000},
    "two convolutions a group": {
        "model.convs_per_group": (2, 2, 2, 2, 2),
        "model.pool_after": "first",
    },
}


def config_of(base: ConfigDict, row: str) -> ConfigDict:
    """Return the config of a row, of no length yet."""
    config = base.copy_and_resolve_references()
    config.update_from_flattened_dict(ROWS[row])
    config.training.autoencoder_epochs = config.training.hashing_epochs = 0.0
    config.evaluation.validate_every_epochs = 0.0
    set_steps(config, TIMED)
    return config


def set_steps(config: ConfigDict, steps: int) -> None:
    """Set how long the training is; the rate falls over all of it."""
    config.training.hashing_steps = config.evaluation.validate_every_steps = steps


def step_of(config: ConfigDict):
    """Return a function that takes the next step of a training and waits for it."""
    run = build.build(config)
    (stage,) = run.stages
    state = run.initial_state()
    state = state.replace(opt_state=stage.optimizer.init(state.params))
    # Copies: parameters and their averages are one buffer at first, which cannot be donated twice.
    state = jax.tree.map(np.array, jax.device_get(state))
    state, batch = parallel.replicate_everywhere(state), next(run.batches(stage, 0))
    batch = next(parallel.prefetch([batch]))

    def step():
        nonlocal state
        state, metrics = stage.step(state, batch)
        jax.block_until_ready(metrics)

    return step


def cost_of(config: ConfigDict, recipe: ConfigDict) -> float:
    """Return what a step costs in steps of the recipe: both in turns, the quickest of each."""
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    steps = [step_of(config), step_of(recipe)]
    times = [[], []]
    for _ in range(TIMED):
        for step, its_times in zip(steps, times, strict=True):
            started = clock()
            step()
            its_times.append(clock() - started)
    return min(times[0]) / min(times[1])


def train_row(base: ConfigDict, folder: epath.Path, row: str, steps: int) -> bool:
    """Train a row, or what is missing of it, for the time of the recipe's steps.

    Returns:
        Whether it is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = config_of(base, row)
    with locked(folder / "plan"):
        plan = folder / "plan.json"
        if not plan.exists():
            cost = 1.0 if row == RECIPE else cost_of(config, config_of(base, RECIPE))
            length = {"row": row, "cost": cost, "steps": max(1, round(steps / cost))}
            draft = folder / "plan.draft"
            draft.write_text(json.dumps(length))
            draft.rename(plan)
        set_steps(config, json.loads(plan.read_text())["steps"])
    complete = train.train(config, folder / "run")
    jax.clear_caches()
    return complete


def table(workdir: epath.Path) -> list[list[str]]:
    """Return the rows that are done, best first, as cells."""
    found = []
    for plan in workdir.glob("*/plan.json"):
        planned = json.loads(plan.read_text())
        for record in read_metrics(plan.parent / "run" / "metrics.jsonl"):
            if record["step"] == planned["steps"] and "valid/map" in record:
                found.append(planned | record)
    recipe = next((one["valid/map"] for one in found if one["row"] == RECIPE), None)
    cells = [["row", "validation mAP", "gain", "accuracy", "steps", "cost of a step"]]
    for one in sorted(found, key=lambda one: -one["valid/map"]):
        score = one["valid/map"]
        gain = "" if recipe is None or one["row"] == RECIPE else f"{score - recipe:+.4f}"
        accuracy = f"{one['valid/accuracy']:.4f}"
        cost = f"{one['cost']:.2f}"
        cells.append([one["row"], f"{score:.4f}", gain, accuracy, f"{one['steps']:,}", cost])
    return cells
