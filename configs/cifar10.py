"""CIFAR-10."""

from configs import default


def get_config(variant: str = "intended"):
    """Return the config of a variant, see configs/default.py; also `cpu`."""
    config = default.get_config("modern" if variant == "cpu" else variant)
    config.variant = variant
    config.data.name = "cifar10"
    return config
