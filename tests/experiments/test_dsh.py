"""One name for all commands."""

import os
import subprocess
import sys

import pytest
from commands import ROOT

from experiments import __main__ as dsh


def test_every_file_with_flags_is_a_command_and_says_what_it_does():
    found = dsh.commands()
    assert {"train", "evaluate", "encode", "search", "serve", "sweep", "bench"} <= set(found)
    for path in (ROOT / "experiments").glob("*.py"):
        assert (path.stem in found) == ("console.run(main)" in path.read_text()), path
    assert all(words.endswith((".", ":")) for words in found.values())


@pytest.mark.parametrize("form", ["--config={}", "-config={}", "--config {}"])
def test_a_config_of_the_installation_is_found_from_elsewhere(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = form.format("configs/mnist.py:modern").split()
    wanted = form.format(f"{ROOT / 'configs' / 'mnist.py'}:modern").split()
    assert dsh.with_config(["--bits=3", *given, "x"]) == ["--bits=3", *wanted, "x"]
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mnist.py").touch()  # the user's own
    assert dsh.with_config(given) == given


@pytest.mark.parametrize(
    "given",
    ["--config=mine/mnist.py", "--config=configs/none.py", "--config", "--config.seed=1",
     "--workdir=configs/mnist.py"],
)  # fmt: skip
def test_all_else_is_left_as_it_stands(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dsh.with_config([given]) == [given]


def test_no_or_another_command_lists_them(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dsh"])
    dsh.main()
    assert "\n  train " in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["dsh", "trian"])
    with pytest.raises(SystemExit, match=r"no command trian\n[^$]*\n  train "):
        dsh.main()


def test_a_command_is_run_with_its_flags(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "experiments", "evaluate", "--codes=absent.npz"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert "absent.npz" in process.stderr.strip().splitlines()[-1]
