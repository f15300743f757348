"""The paper's Tables 1 and 2 on CIFAR-10, see configs/tables/mnist.py.

Rows without suffix hash GIST descriptors of 512 numbers. The deep rows have the network of
configs/cifar10.py:modern and want a GPU; `deep_cpu` has the paper's five deep rows with the recipe
for two cores, 120 steps of 500 images a run, not timed yet:
  python -m experiments.tables --config=configs/tables/cifar10.py:deep_cpu \\
    --workdir=runs/tables-cifar10-deep
"""

from ml_collections import ConfigDict

from configs.tables import mnist


def get_config(variant: str = "full") -> ConfigDict:
    """Return what the tables hold, see configs/tables/mnist.py, and `deep_cpu`."""
    config = mnist.get_config("paper" if variant == "deep_cpu" else variant)
    config.dataset = "CIFAR-10"
    config.base = "configs/cifar10.py:" + {"smoke": "smoke", "deep_cpu": "cpu"}.get(
        variant, "modern"
    )
    config.deep = ()
    if variant == "deep_cpu":
        config.own_bits = (48,)
        config.seeds = 1
        config.rows = tuple(row for row in config.rows if row[1] == mnist.DEEP)
        config.deep = (
            ("training.hashing_epochs", 0.0),
            ("training.hashing_steps", 120),
            ("evaluation.validate_every_epochs", 0.0),
            ("evaluation.validate_every_steps", 120),
        )
    config.rows = tuple(
        (name, "gist" if features == "pixels" else features, method, seeds)
        for name, features, method, seeds in config.rows
    )
    return config
