"""Where compiled programs are kept."""

import pytest
from etils import epath

from experiments import compiled


@pytest.fixture(autouse=True)
def no_folder_in_the_environment(monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)


def test_they_are_kept_beside_the_runs_apart_for_each_processor(tmp_path):
    kept = compiled.folder_of(None, tmp_path / "sweep" / "3")
    assert kept == epath.Path(tmp_path).resolve() / "sweep" / ".compiled" / compiled.processor()


def test_a_folder_that_is_named_is_taken_and_an_empty_one_is_none(tmp_path):
    assert compiled.folder_of("/somewhere", tmp_path) == epath.Path("/somewhere")
    assert compiled.folder_of("", tmp_path) is None


def test_the_environments_folder_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/else")
    assert compiled.folder_of(None, tmp_path) is None
    assert compiled.folder_of("/somewhere", tmp_path) == epath.Path("/somewhere")


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert compiled.folder_of(None, tmp_path / "export") is None
    assert compiled.folder_of(None, tmp_path / "to be made" / "run") is not None
