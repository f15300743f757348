"""Deep semi-supervised hashing for image retrieval, in JAX and Flax.

The way of the data, a room each; import what you need, nothing happens at import:

    a file becomes pixels in `pictures`, files with labels a Source and its batches in `data`;
    `augment` prepares and changes them on the device;
    `network` gives a feature, the logits of K bits, class scores, and the decoded image;
    `losses` compares them with labels, `methods` puts losses and heads together by name;
    `training` makes a step, stages and checkpoints of a config, which `runs.train` walks through;
    `evaluation` encodes rows, `codes` packs their bits, `retrieval` counts and ranks distances;
    `metrics` makes numbers of the counts, `report` a page of the numbers, `sweeps` tables of runs;
    `collection` encodes people's own files with a trained network, `index` keeps their codes,
    `page` shows them.

`parallel` is the only file that knows devices, `training.checkpoint` the only one that knows Orbax.
"""


def __getattr__(name: str):
    if name == "load":  # when it is asked for: it imports the library
        from dsh_jax.runs.exported import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
