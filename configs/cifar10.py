"""CIFAR-10, the paper's Table 1: .921 / .932 / .930 / .940 at 12 / 24 / 32 / 48 bits."""

from configs import default


def get_config(variant: str = "intended"):
    """Return the config of a variant, see configs/default.py; `cpu` is `modern` for two cores."""
    config = default.get_config("modern" if variant == "cpu" else variant)
    config.variant = variant
    config.data.name = "cifar10"
    config.augment.shift = 4
    config.augment.flip = True
    config.training.batch_size = 256
    config.training.autoencoder_epochs = 5.0
    config.training.hashing_epochs = 30.0
    config.evaluation.validate_every_epochs = 2.0
    if variant in ("modern", "cpu"):
        config.training.mode = "joint"
        config.model.convs_per_group = (2, 2, 2, 2, 2)
        config.model.pool_after = "first"
        config.loss.y = 0.0
        config.loss.z = 0.0
        config.loss.label_smoothing = 0.1
        config.optimizer.name = "sgd"
        config.optimizer.learning_rate = 0.3
    if variant == "modern":
        config.model.convs_per_group = (2, 2, 3, 3, 3)
        config.model.pool_after = "group"
        config.model.dtype = "bfloat16"
        config.augment.cutout = 8
        config.optimizer.learning_rate = 0.2
        config.training.batch_size = 512
        config.training.hashing_epochs = 60.0
        config.training.ema_decay = 0.999
        config.evaluation.validate_every_epochs = 5.0
    if variant == "cpu":
        config.model.width = 0.5
        config.model.fc_dim = 512
        config.training.hashing_epochs = 16.0
        config.evaluation.validate_every_epochs = 4.0
    if variant == "smoke":
        config.model.width = 0.125
        config.model.fc_dim = 64
        config.training.mode = "joint"
        config.training.hashing_epochs = 0.0
        config.training.hashing_steps = 20
        config.training.log_every_steps = 10
    return config
