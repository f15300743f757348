"""The commands as a user types them."""

import json
import shutil

import photographs
import pytest
from commands import SMALL, command, fresh, last_line
from etils import epath

from dsh_jax.training.records import read_metrics
from experiments import console


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run made by the training command: (folder, process)."""
    folder = epath.Path(tmp_path_factory.mktemp("command")) / "run"
    sizes = [f"--config.{name}={value}" for name, value in SMALL.items()]
    process = fresh("train", "--config=configs/digits.py:smoke", *sizes, f"--workdir={folder}")
    assert process.returncode == 0, process.stderr
    return folder, process


def test_training_prints_its_table_and_its_map(trained):
    folder, process = trained
    assert "database=train (1,221)" in process.stdout
    result = json.loads(last_line(process.stdout))
    assert result["workdir"] == str(folder)
    (record,) = [r for r in read_metrics(folder / "metrics.jsonl") if "eval/map" in r]
    assert result["map"] == record["eval/map"]
    assert (folder / "report.html").exists()


def test_flags_change_the_config(trained):
    folder, _ = trained
    config = json.loads((folder / "config.json").read_text())
    assert config["variant"] == "smoke"
    assert config["training"]["hashing_steps"] == 20


def test_evaluation_command_gives_the_same_numbers(trained):
    folder, process = trained
    again = command("evaluate", f"--workdir={folder}")
    assert again.returncode == 0, again.stderr
    table = process.stdout.strip().rpartition("\n")[0].strip()
    assert again.stdout.strip() == table


@pytest.mark.slow
def test_views_are_evaluated_and_said(trained, tmp_path):
    folder, process = trained
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    several = command("evaluate", f"--workdir={copy}", "--views=2")
    assert several.returncode == 0, several.stderr
    assert "views                                           2.0000" in several.stdout
    assert several.stdout.splitlines()[:3] != process.stdout.strip().splitlines()[:3]
    refused = command("evaluate", f"--workdir={copy}", "--views=4")
    assert last_line(refused.stderr) == "error: evaluation.views is 4; it must be 1, 2 or 6."


def test_a_misspelt_data_set_is_one_clear_line(tmp_path):
    process = command(
        "train",
        "--config=configs/digits.py:smoke",
        "--config.data.name=mnits",
        f"--workdir={tmp_path / 'run'}",
    )
    assert process.returncode == 1
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    (error,) = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert "unknown data set 'mnits'" in error
    assert "mnist" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.model.bit=4", "the config has no 'bit' Did you mean \"bits\""),
        ("--config=configs/digits.py:best", "unknown variant 'best'; known: printed"),
        ("--config=configs/absent.py", "configs/absent.py"),
    ],
)
def test_a_mistyped_flag_is_one_clear_line(flag, message, tmp_path):
    process = command("train", "--config=configs/digits.py", flag, f"--workdir={tmp_path / 'run'}")
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert message in last_line(process.stderr)


@pytest.mark.parametrize("error", [ValueError, FloatingPointError])
def test_errors_of_settings_and_data_are_one_line(error):
    with pytest.raises(SystemExit, match=r"^error: the rate is 0$"), console.clear_errors():
        raise error("the rate is 0")


def test_errors_of_the_program_keep_their_traceback():
    with pytest.raises(KeyError), console.clear_errors():
        raise KeyError("bits")


def test_missing_config_is_asked_for(tmp_path):
    process = command("train", f"--workdir={tmp_path / 'run'}")
    assert process.returncode != 0
    assert "flag --config=None: Flag --config must have a value other than None" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """A folder of 40 pictures of two classes, one of them corrupt."""
    folder = epath.Path(tmp_path_factory.mktemp("pets"))
    for row in range(40):
        photographs.write(folder / ("cat", "dog")[row % 2] / f"{row}.jpg", row)
    (folder / "dog" / "7.jpg").write_bytes(b"torn")
    return folder


def data_flags(folder, out):
    sizes = {"data_dir": folder, "image_size": 32, "queries": 8, "train_rows": 20}
    flags = [f"--config.data.{name}={value}" for name, value in sizes.items()]
    return ["--config=configs/folder.py:smoke", *flags, f"--out={out}", "--seconds=0.1"]


def test_data_command_shows_what_a_run_would_train_on(pets, tmp_path):
    flags = data_flags(pets, tmp_path / "out")
    shown = command("data", *flags, "--config.training.batch_size=8", f"--write_lists={tmp_path}/l")
    assert shown.returncode == 0, shown.stderr
    for wanted in (
        "folder: 39 images of 32×32×3, 2 labels",
        "1 corrupt; a run stops at them, unless data.skip has corrupt:\n  dog/7.jpg",
        "protocol random: labelled 19, unlabelled 0, validation 1, query 8, unseen 11, database 31",
        "chance level: mAP 0.",
        "input: ",
    ):
        assert wanted in shown.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *("images.png", "augmented.png", "data.json", "data.txt", "split.npz", "split.json")
    }
    numbers = json.loads((tmp_path / "out" / "data.json").read_text())
    assert numbers["left_out"] == {"corrupt": ["dog/7.jpg"]}
    assert numbers["rows"]["query"] == 8
    assert len((tmp_path / "l" / "query.txt").read_text().splitlines()) == 8


def test_data_command_ends_with_one_line_where_there_is_nothing(tmp_path):
    shown = command("data", *data_flags(tmp_path / "none", tmp_path / "out"))
    assert shown.returncode == 1
    assert last_line(shown.stderr).startswith("error: data.data_dir is ")


@pytest.mark.slow
def test_input_is_measured_beside_bare_decoding(pets):
    sizes = {"data.data_dir": pets, "data.image_size": 32, "data.queries": 8, "data.train_rows": 20}
    sizes |= {"data.skip": "corrupt", "training.batch_size": 8, "model.width": 1 / 32}
    flags = [f"--config.{name}={value}" for name, value in sizes.items()]
    done = command("bench", "data", "--config=configs/folder.py:smoke", *flags, "--rounds=1",
                   "--steps=10")  # fmt: skip
    assert done.returncode == 0, done.stderr
    numbers = json.loads(last_line(done.stdout))
    assert numbers.keys() == {
        *("decode", "resize", "ours", "files", "memory", "step"),
        *("ours ÷ decode", "ours ÷ resize", "files ÷ step", "memory ÷ step"),
    }
    assert min(numbers.values()) > 0
