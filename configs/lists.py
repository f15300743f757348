r"""List files, as HashNet and its successors split data sets: train.txt, database.txt, test.txt.

A line is a path and its labels, as 0 and 1 or as one class number.

  python -m experiments.train --config=configs/lists.py --config.data.data_dir=/data/nuswide_21 \
    --config.data.labels_path=/data/nuswide_21/lists --workdir=runs/lists

Query, training and database are the lists'. Paths start at data.data_dir; data.path_prefix is taken
off their front first.
"""

from configs import folder


def get_config(variant: str = "intended"):
    """Return the config of a variant, see configs/default.py."""
    config = folder.get_config(variant)
    config.data.name = "lists"
    config.data.protocol = "official"
    return config
