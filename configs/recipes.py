"""Settings that several data sets share."""

from ml_collections import ConfigDict


def few_epochs(config: ConfigDict) -> None:
    """Set a recipe for few epochs, after Jordan's of 2024, in which parts were left out."""
    config.model.pool_before_norm = True
    config.model.nonlinearity = "gelu"
    config.model.norm_momentum = 0.6
    config.model.norm_scale = False
    config.model.kernel_init = "dirac"
    config.optimizer.name = "muon"
    config.optimizer.schedule = "linear"
    config.optimizer.warmup = 0.0
    config.optimizer.held_norms = True
    config.optimizer.learning_rate = 0.12
    config.optimizer.adam_learning_rate = 4e-3
    config.optimizer.momentum = 0.6


def three_groups(config: ConfigDict) -> None:
    """Set Jordan's layout of 2024 in place of the paper's five groups: more places, fewer filters.

    Three 2×2 pools leave 4×4 places of 32×32 pixels, over which each channel's maximum is taken.
    """
    config.model.filters = (64, 256, 256)
    config.model.convs_per_group = (2, 2, 2)
    config.model.pool_after = "first"
    config.model.pools = 3
    config.model.whitening = 2
    config.model.global_pool = True
