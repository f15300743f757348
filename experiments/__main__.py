"""Every command under one name: `dsh NAME --flag=…`, or `python -m experiments NAME --flag=…`.

Installed from a wheel, `--config=configs/mnist.py` means the config of the wheel wherever the
current folder has none of that name.
"""

import ast
import pathlib
import runpy
import sys

import configs
import experiments

HERE = pathlib.Path(experiments.__file__).parent
CONFIGS = pathlib.Path(configs.__file__).parent
# `bench` is a folder of commands; those in LEFT_OUT are no commands.
LEFT_OUT = ("__init__", "__main__", "console", "compiled", "memory")


def commands() -> dict[str, str]:
    """Return what each command does, by its name."""
    files = {path.stem: path for path in HERE.glob("*.py") if path.stem not in LEFT_OUT}
    files["bench"] = HERE / "bench" / "__main__.py"
    return {name: _first_line(files[name]) for name in sorted(files)}


def with_config(arguments: list[str]) -> list[str]:
    """Return a command's arguments with configs of this installation where there are no others.

    Args:
      arguments: after the command's name.
    """
    found = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        flag, equals, value = argument.partition("=")
        is_joined = bool(equals) and flag in ("--config", "-config")
        if not is_joined and before in ("--config", "-config"):
            flag, equals, value = "", "", argument
        elif not is_joined:
            found.append(argument)
            continue
        file, colon, variant = value.partition(":")
        path = pathlib.PurePosixPath(file)
        own = CONFIGS.joinpath(*path.parts[1:])
        if path.parts[:1] == ("configs",) and not pathlib.Path(file).exists() and own.is_file():
            value = f"{own}{colon}{variant}"
        found.append(f"{flag}{equals}{value}")
    return found


def main() -> None:
    """Run the command that is named first."""
    known = commands()
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        asked = sys.argv[1:2]
        lines = [f"  {name:10} {words}" for name, words in known.items()]
        text = "\n".join(["dsh NAME --flag=…, where NAME is one of", *lines, "", "dsh NAME --help"])
        if not asked or asked[0] in ("-h", "--help", "help"):
            print(text)
            return
        sys.exit(f"error: there is no command {asked[0]}\n{text}")
    name = sys.argv[1]
    sys.argv[1:] = with_config(sys.argv[2:])
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)


def _first_line(path: pathlib.Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]


if __name__ == "__main__":
    main()
