"""The paper's Tables 1 and 2 on CIFAR-10, see configs/tables/mnist.py.

Rows without suffix hash GIST descriptors of 512 numbers. The deep rows have the network of
configs/cifar10.py:modern and want a GPU.
"""

from ml_collections import ConfigDict

from configs.tables import mnist


def get_config(variant: str = "full") -> ConfigDict:
    """Return what the tables hold, see configs/tables/mnist.py."""
    config = mnist.get_config(variant)
    config.dataset = "CIFAR-10"
    config.base = "configs/cifar10.py:" + ("smoke" if variant == "smoke" else "modern")
    config.deep = ()
    config.rows = tuple(
        (name, "gist" if features == "pixels" else features, method, seeds)
        for name, features, method, seeds in config.rows
    )
    return config
