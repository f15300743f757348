"""From a config to a trained state.

    optimizer     optimizers and schedules by name
    muon          one of these, of our own
    step          one training step
    settings      what they mean, and which do not go together
    stages        from a config to stages of training
    build         from a config to data, network and stages
    run_folder    a run's folder: config, environment
    lock          held by one process
    records       what it recorded; writers, how
    checkpoint    its checkpoints: the only file that knows Orbax
    journal       records and checkpoints while it trains
    pace          its speed
    interruption  save before stopping

The loop itself is `runs.train`.
"""
