"""MNIST, the paper's Table 1: .985 / .990 / .990 / .990 at 12 / 24 / 32 / 48 bits.

    python -m experiments.train --config=configs/mnist.py:modern --workdir=runs/mnist
"""

from configs import default


def get_config(variant: str = "intended"):
    """Return the config of a variant, see configs/default.py."""
    config = default.get_config(variant)
    config.data.name = "mnist"
    config.model.width = 0.25
    config.model.fc_dim = 256
    config.optimizer.learning_rate = 3e-3
    config.training.autoencoder_epochs = 0.5
    config.training.hashing_epochs = 3.0
    config.training.log_every_steps = 100
    if variant == "modern":
        config.training.mode = "joint"
        config.loss.y = 0.0
        config.loss.z = 0.0
        config.augment.shift = 2
        config.training.hashing_epochs = 4.0
    if variant == "smoke":
        config.training.mode = "joint"
        config.training.hashing_epochs = 0.0
        config.training.hashing_steps = 100
        config.training.log_every_steps = 10
    return config
