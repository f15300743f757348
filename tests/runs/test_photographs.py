"""Sets of image files train, are evaluated and resume, as arrays do."""

import json
import os

import jax
import numpy as np
import nuswide_layout
import photographs
import pytest
import tiny
from etils import epath
from places import SUBSET

from configs import folder, lists, mirflickr, nuswide
from dsh_jax.data.lists import write_lists
from dsh_jax.runs import evaluate, gallery, train
from dsh_jax.training import build
from dsh_jax.training.checkpoint import Checkpoints


def small(config, **changed):
    """Return the config with the sizes of the tiny run, and some of its settings changed."""
    sizes = {name: value for name, value in tiny.SIZES.items() if not name.startswith("data.")}
    steps = tiny.STEPS | {"training.mode": "joint", "training.hashing_steps": 6}
    steps |= {"evaluation.validate_every_steps": 3, "data.image_size": 32}
    changed = {name.replace("__", "."): value for name, value in changed.items()}
    config.update_from_flattened_dict(sizes | steps | changed)
    return config


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """NUS-WIDE's layout with 300 images: (folder, labels)."""
    root = epath.Path(tmp_path_factory.mktemp("nuswide"))
    return root, nuswide_layout.write(root)


def nuswide_config(root, **changed):
    protocol = {"data__queries": 21, "data__train_rows": 63, "data__validation": 0.2}
    return small(nuswide.get_config(), data__data_dir=str(root), **(protocol | changed))


def test_the_21_concepts_come_out_in_the_known_order(native):
    root, label = native
    source = build.load_source(nuswide_config(root))
    assert source.label_names == tuple(nuswide_layout.MOST_FREQUENT)
    columns = [nuswide_layout.CONCEPTS.index(name) for name in source.label_names]
    np.testing.assert_array_equal(source.label_NxC, label[:, columns])
    every = build.load_source(nuswide_config(root, data__concepts=81))
    assert every.label_names == tuple(nuswide_layout.CONCEPTS)
    np.testing.assert_array_equal(every.label_NxC, label)


@pytest.mark.slow
def test_nuswide_trains_resumes_to_the_same_bits_and_is_evaluated(native, tmp_path):
    config = nuswide_config(native[0])
    run = build.build(config)
    assert run.source.multilabel
    assert train.train(config, tmp_path / "whole", described=run)
    assert not train.train(config, tmp_path / "parts", described=run, stop_step=3)
    assert train.train(config, tmp_path / "parts", described=build.build(config))
    states = []
    for name in ("whole", "parts"):
        checkpoints = Checkpoints(tmp_path / name)
        states.append(checkpoints.restore(6, run.state_shapes(6)))
        checkpoints.close()
    jax.tree.map(np.testing.assert_array_equal, *states)

    found = evaluate.evaluate_run(config, run, tmp_path / "parts")
    # nus-21 ranks all but the queries, the training rows among them.
    assert list(found.results) == ["protocol", "train", "unseen"]
    with_label = int(run.source.label_NxC.any(1).sum())
    assert len(found.rows["protocol"]) == with_label - 21
    assert {"eval/map", "eval/weighted_map", "eval_unseen/map"} <= found.scalars().keys()
    assert gallery.report_run(config, run, found, tmp_path / "parts").exists()


def params_with(cache, native, folder):
    """Return the parameters after two steps on images that are kept in a cache."""
    changed = {"data__cache": cache, "data__cache_dir": str(folder), "training__hashing_steps": 2}
    config = nuswide_config(native[0], **changed)
    run = build.build(config)
    train.train(config, folder / "run", described=run)
    checkpoints = Checkpoints(folder / "run")
    params = checkpoints.restore(2, run.state_shapes(2)).params
    checkpoints.close()
    return params


@pytest.fixture(scope="module")
def in_memory(native, tmp_path_factory):
    return params_with("memory", native, tmp_path_factory.mktemp("memory"))


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_a_cache_changes_no_parameter(native, in_memory, tmp_path, cache):
    found = params_with(cache, native, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, in_memory, found)


def test_lists_written_from_a_split_give_the_same_run(native, tmp_path):
    config = nuswide_config(native[0])
    run = build.build(config)
    split = run.split
    parts = {"train": split.labelled, "database": split.database, "query": split.query}
    write_lists(run.source, parts, tmp_path)
    again = small(
        lists.get_config(), data__data_dir=str(native[0]), data__labels_path=str(tmp_path),
        data__validation=0.0,
    )  # fmt: skip
    other = build.build(again)

    def names(of, rows):
        return sorted(of.source.images.name_N[rows])

    assert names(other, other.split.query) == names(run, split.query)
    assert names(other, other.split.labelled) == names(run, split.labelled)
    assert names(other, other.split.database) == names(run, split.database)
    assert other.source.label_names == run.source.label_names


def test_a_saved_split_is_used_again_and_only_with_its_data(native, tmp_path):
    config = nuswide_config(native[0])
    run = build.build(config)
    train.train(config, tmp_path / "run", described=run, stop_step=1)
    path = str(tmp_path / "run" / "split.npz")
    again = nuswide_config(native[0], data__split_path=path, data__split_seed=5)
    assert build.load_split(again, run.source).hash == run.split.hash
    other = build.load_source(nuswide_config(native[0], data__concepts=81))
    with pytest.raises(ValueError, match="is a split of the data"):
        build.load_split(again, other)


def test_a_folder_of_classes_trains(tmp_path):
    for row in range(60):
        photographs.write(tmp_path / "pets" / ("cat", "dog", "owl")[row % 3] / f"{row}.png", row)
    config = small(
        folder.get_config(), data__data_dir=str(tmp_path / "pets"), data__queries=12,
        data__train_rows=30, training__hashing_steps=2,
    )  # fmt: skip
    run = build.build(config)
    assert not run.source.multilabel
    assert train.train(config, tmp_path / "run", described=run)
    found = evaluate.evaluate_run(config, run, tmp_path / "run")
    assert len(found.rows["protocol"]) == 48


@pytest.mark.skipif(not SUBSET.is_dir(), reason=f"no MIRFLICKR subset at {SUBSET}")
def test_real_photographs_train_with_equation_5(tmp_path):
    config = small(mirflickr.get_config("subset"), data__data_dir=os.fspath(SUBSET))
    run = build.build(config)
    assert train.train(config, tmp_path, described=run)
    found = evaluate.evaluate_run(config, run, tmp_path)
    assert found.results["protocol"].metrics["chance"] == pytest.approx(0.5193, abs=1e-4)
    summary = json.loads((tmp_path / "split.json").read_text())
    assert (summary["labelled"], summary["query"], summary["database"]) == (1800, 300, 2604)
    assert "51 of 2,955 rows have no label" in summary["notes"][0]
