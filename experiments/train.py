"""Train a network, then evaluate it: python -m experiments.train --config=configs/mnist.py --workdir=runs/mnist"""

from absl import app, flags
from ml_collections import config_flags

from dsh_jax import train

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, e.g. configs/mnist.py:modern."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
flags.mark_flag_as_required("config")


def main(argv):
    del argv
    train.train(_CONFIG.value, _WORKDIR.value)


if __name__ == "__main__":
    app.run(main)
