"""What is imported is declared, what is declared is pinned, and the wheel is whole by itself."""

import ast
import configparser
import functools
import importlib.metadata
import pathlib
import shutil
import subprocess
import sys
import venv

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parent.parent
OUTSIDE = {"cuda12", "cuda13"}  # extras that the tested set does not have
OWN = {"configs", "dsh_jax", "experiments", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
ABSENT = {"torch": "torch"}  # a distribution that the tested set does not have
EVERY_MODULE = """
import importlib, pathlib, pkgutil, traceback
import dsh_jax
assert "site-packages" in dsh_jax.__file__, dsh_jax.__file__
failed, names = [], [m.name for m in pkgutil.walk_packages(dsh_jax.__path__, "dsh_jax.")]
for name in names:
    try:
        importlib.import_module(name)
    except Exception:
        failed.append(name + ": " + traceback.format_exc().splitlines()[-1])
print(len(names), "modules,", len(failed), "fail to import")
print("\\n".join(failed))
raise SystemExit(bool(failed) or len(names) < 100)
"""


@functools.cache
def declared():
    """Return the requirements of setup.cfg by extra; those of every install under the name ''."""
    parser = configparser.ConfigParser(inline_comment_prefixes=("#",))
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {"": parser["options"]["install_requires"], **parser["options.extras_require"]}
    return {
        extra: [Requirement(line) for line in text.splitlines() if line.strip()]
        for extra, text in extras.items()
    }


def names_of(*extras):
    return {canonicalize_name(one.name) for extra in extras for one in declared()[extra]}


@functools.cache
def all_distributions():
    return importlib.metadata.packages_distributions()


@functools.cache
def distributions(module):
    """Return the canonical names of what may bring a module."""
    if module in ABSENT:
        return {ABSENT[module]}
    found = all_distributions().get(module, ())
    return {canonicalize_name(name) for name in found}


def imports(folder):
    """Yield (file, module, whether it is imported with the file) of all that others have made."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inner = {
            id(node)
            for scope in ast.walk(tree)
            if isinstance(scope, ast.FunctionDef | ast.Try)
            for node in ast.walk(scope)
        }
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                module = name.split(".")[0]
                if module not in sys.stdlib_module_names and module not in OWN:
                    yield path.relative_to(ROOT), module, id(node) not in inner


def test_the_library_declares_what_it_imports():
    always, any_extra = names_of(""), names_of(*declared())
    # A wheel without extras must import: `tensorflow` is one of two packages by platform.
    for path, module, at_import in imports("dsh_jax"):
        wanted = always if at_import else any_extra
        assert distributions(module) & wanted, f"{path} imports {module}: declare it in setup.cfg"


@pytest.mark.parametrize("folder", ["tests", "experiments", "configs"])
def test_the_rest_declares_what_it_imports(folder):
    any_extra = names_of(*declared()) | {"torch"}  # torch: a peer that benchmarks may have
    for path, module, _ in imports(folder):
        assert distributions(module) & any_extra, f"{path} imports {module}: declare it"


def test_no_package_is_asked_for_twice_in_different_ranges():
    ranges = {}
    for extra, ones in declared().items():
        for one in ones:
            if extra not in ("cuda12", "cuda13"):  # jax with its own libraries
                ranges.setdefault(canonicalize_name(one.name), set()).add(str(one.specifier))
    assert {name: found for name, found in ranges.items() if len(found) > 1} == {}


def pinned(name):
    """Return package to version of a file of requirements, and of those that it takes in."""
    found = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            found |= pinned(line.removeprefix("-r "))
        elif line.strip() and not line.startswith("#"):
            one = Requirement(line)
            (pin,) = one.specifier
            assert pin.operator == "==", line
            found[canonicalize_name(one.name)] = pin.version
    return found


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-3.13.txt"])
def test_the_tested_set_is_within_the_declared_ranges(name):
    found = pinned(name)
    for extra, ones in declared().items():
        for one in ones if extra not in OUTSIDE else ():
            package = canonicalize_name(one.name)
            assert package in found, f"{name} lacks {package}, of the extra {extra!r}"
            assert one.specifier.contains(found[package]), (
                f"{package}=={found[package]} is not {one}"
            )


def test_who_only_uses_codes_installs_no_tensorflow():
    found = pinned("requirements-encode.txt")
    assert not {name for name in found if name.startswith(("tensorflow", "tensorboard", "clu"))}
    assert found.items() <= pinned("requirements.txt").items()


@pytest.mark.slow  # it downloads all that the library needs into a new environment
def test_the_wheel_alone_imports_every_module(tmp_path):
    # Of a copy: setuptools leaves a folder behind, and would pack what an older one holds.
    tree = tmp_path / "tree"
    for name in ("configs", "dsh_jax", "experiments"):
        shutil.copytree(ROOT / name, tree / name)
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tree)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, tree], check=True)
    (wheel,) = tmp_path.glob("dsh_jax-*.whl")
    venv.create(tmp_path / "fresh", with_pip=True)
    python = tmp_path / "fresh" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "--quiet", "install", wheel], check=True)
    found = subprocess.run(
        [python, "-c", EVERY_MODULE], cwd=tmp_path, capture_output=True, text=True
    )
    print(found.stdout)
    assert found.returncode == 0, found.stdout + found.stderr[-2000:]
    dsh = tmp_path / "fresh" / "bin" / "dsh"
    listed = subprocess.run([dsh], cwd=tmp_path, capture_output=True, text=True)
    assert "\n  train " in listed.stdout, listed.stderr
    flags = ["--config=configs/digits.py:nosuch", "--workdir=run"]
    refused = subprocess.run([dsh, "train", *flags], cwd=tmp_path, capture_output=True, text=True)
    last = refused.stderr.strip().splitlines()[-1]
    assert "unknown variant 'nosuch'" in last, refused.stderr  # the wheel's config was read


def test_the_wheel_has_what_is_no_program():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    kept = parser["options.package_data"]
    for package in ("configs", "dsh_jax", "experiments"):
        patterns = [
            one.strip() for one in kept.get(package, "").replace("\n", ",").split(",") if one
        ]
        found = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
        files = {path for path in (ROOT / package).rglob("*") if path.is_file()}
        files = {path for path in files if path.suffix not in (".py", ".pyc", ".md")}
        assert files == found
