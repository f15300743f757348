"""How a sweep's runs are started, watched and chosen: what `experiments.sweep` is made of."""
