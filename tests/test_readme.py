"""README's commands: what they name is there, and they run."""

import os
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import readme
from commands import FORCED, ROOT
from PIL import Image

COMMANDS = readme.commands()
OURS = [line for line in COMMANDS if line.startswith("python -m experiments.")]
# Run on less: these need a download, or hours. All else is run as it is written.
LESS = {
    "configs/mnist.py:modern": "configs/digits.py:smoke",
    "configs/mnist.py:semi": "configs/digits.py:smoke",
    "configs/folder.py": "configs/folder.py:smoke",
    "seed=0,1,2": "seed=0",
    "--workdir=runs/semi-mnist": "--steps=20 --seeds=1 --rows=all --workdir=runs/semi-mnist",
}
NEEDS_DATA = ("configs/tables/mnist.py", "--on=configs/digits.py")  # the latter, a run on MNIST


def test_every_line_is_a_command():
    assert len(OURS) > 20
    others = {line.split()[0] for line in COMMANDS if line not in OURS}
    assert others <= {"make", "pip"}


@pytest.mark.parametrize("line", OURS)
def test_its_module_flags_and_configs_are_there(line):
    words = shlex.split(line)
    path = ROOT / f"{words[2].replace('.', '/')}.py"
    path = path if path.exists() else path.with_suffix("") / "__main__.py"
    text = path.read_text(encoding="utf-8")
    if "import console, memory, sweep" in text:  # whose flags are its own, too
        text += (ROOT / "experiments" / "sweep.py").read_text(encoding="utf-8")
    defined = set(re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", text))
    for word in words[3:]:
        if word.startswith("--"):
            flag = word[2:].split("=")[0].split(".")[0]
            assert flag in defined, f"{path} has no {word}"
        for config in re.findall(r"configs/[\w/]+\.py", word):
            assert (ROOT / config).exists()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder to type them in, with photographs, classes and the run of `make demo`."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "configs").symlink_to(ROOT / "configs")
    draw = np.random.default_rng(0)
    (folder / "data" / "photos").mkdir(parents=True)
    for row in range(300):
        pixels = draw.integers(0, 256, (6, 8, 3), np.uint8)
        picture = Image.fromarray(pixels).resize((80, 60), Image.Resampling.BICUBIC)
        picture.save(folder / "data" / "photos" / f"im{row}.jpg")
    picture.save(folder / "cat.jpg")
    for kind in range(3):
        (folder / "data" / "pets" / f"kind{kind}").mkdir(parents=True)
        for row in range(800):
            pixels = draw.integers(0, 80, (32, 32, 3), np.uint8)
            pixels[..., kind] += 120
            Image.fromarray(pixels).save(folder / "data" / "pets" / f"kind{kind}" / f"{row}.png")
    demo = "python -m experiments.train --config=configs/digits.py:smoke --workdir=runs/digits"
    assert typed(demo, folder).returncode == 0
    (codes,) = (folder / "runs" / "digits" / "eval").glob("*.npz")
    (folder / "held.npz").symlink_to(codes)
    return folder


def typed(line, folder):
    """Return the finished process of a command; one that serves is stopped once it does."""
    env = {name: value for name, value in os.environ.items() if name not in FORCED}
    env |= {"PYTHONPATH": str(ROOT), "HOME": str(folder), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    words = [sys.executable, *shlex.split(line)[1:]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(words, cwd=folder, env=env, **pipes)
    if "experiments.serve" in line:
        url = process.stdout.readline().split()[1]
        while process.poll() is None and not is_ready(url):
            time.sleep(1)
        process.terminate()
    out, err = process.communicate()
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def is_ready(url):
    """Return whether the page is answered; it says 503 while it waits for its index."""
    try:
        with urllib.request.urlopen(url, timeout=60):
            return True
    except urllib.error.HTTPError:
        return False


@pytest.mark.slow  # each as a reader types it, one after the other: half an hour
@pytest.mark.parametrize("line", OURS)
def test_it_runs(line, place):
    if any(name in line for name in NEEDS_DATA):
        pytest.skip("needs MNIST")
    line = line.replace("/data/", f"{place}/data/")
    for much, less in LESS.items():
        line = line.replace(much, less)
    process = typed(line, place)
    assert process.returncode == 0, process.stderr[-3000:]
