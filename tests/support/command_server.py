"""Runs the commands that its input names, each in a fork of its own that has imported JAX already.

A command needs seconds to import what all commands import; here it is imported once. What a fork
runs is `python -m`: the module as `__main__`, its own arguments, output and end.
"""

import importlib
import json
import os
import runpy
import sys
import warnings

SHARED = (
    "experiments.console",  # first: it quiets TensorFlow before its import
    "clu.metric_writers",
    "clu.parameter_overview",
    "clu.periodic_actions",
    "dsh_jax.page.hits",
    "dsh_jax.runs.gallery",
    "dsh_jax.runs.shallow",
    "dsh_jax.runs.exported",
    "dsh_jax.runs.train",
    "ml_collections.config_flags",
)


def fork():
    """Fork; JAX warns of threads, of which there are none before it has a backend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return os.fork()


def main():
    """Serve until the input ends; a fork returns the module that it is to run."""
    for name in SHARED:
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = fork()
        if child == 0:
            for number, path in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
                os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY), number)
            sys.argv = [order["module"], *order["arguments"]]
            return order["module"]
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


if __name__ == "__main__" and (module := main()):
    runpy.run_module(module, run_name="__main__", alter_sys=True)
