"""The paper's Tables 1 and 2 on CIFAR-10, see configs/tables/mnist.py.

Rows without suffix hash GIST descriptors of 512 numbers. The deep rows have the network of
configs/cifar10.py:modern and want a GPU; `deep_cpu` has the paper's five deep rows, and DHS from
the labels alone, with the recipe for two cores: 30,000 images a run, 120 steps of 250:
  python -m experiments.tables --config=configs/tables/cifar10.py:deep_cpu \\
    --workdir=runs/tables-cifar10-deep
`pretrained` has rows that are not in the paper, on features of EfficientNet-Lite2, which knows
ImageNet as the VGG-F of the paper's rows does, and is a better network.
"""

from ml_collections import ConfigDict

from configs.tables import mnist

LITE2 = "efficientnet_lite2"
SIDE = 128  # to which the 32×32 images are brought before it
FROZEN, TUNED = "DHS, EfficientNet-Lite2, frozen", "DHS, EfficientNet-Lite2, fine-tuned"
PRETRAINED = (
    ("model.encoder", LITE2),
    ("model.side", SIDE),
    ("model.fc_dim", 512),
    ("training.mode", "joint"),
)

DEEP_CPU = ("DHS", "SSDH", "DRSCH", "NINH", "CNNH", "DHS, labels alone")
# DHS among few labels, as configs/cifar10.py:semi_cpu has it, in as many images as the other rows.
UNLABELLED = (
    ("semi.labels_first_steps", 60),
    ("training.hashing_steps", 90),
    ("evaluation.validate_every_steps", 90),
    ("training.labelled_share", 0.5),
    ("training.ema_decay", 0.99),
    ("semi.pseudo_label", 1.0),
    ("semi.ramp", 0.0),
    ("semi.threshold_start", 0.5),
    ("semi.threshold", 0.8),
    ("semi.alignment", True),
)


def get_config(variant: str = "full") -> ConfigDict:
    """Return what the tables hold, see configs/tables/mnist.py; `deep_cpu` and `pretrained`."""
    config = mnist.get_config("paper" if variant in ("deep_cpu", "pretrained") else variant)
    config.dataset = "CIFAR-10"
    config.base = "configs/cifar10.py:" + {
        "smoke": "smoke",
        "deep_cpu": "cpu",
        "pretrained": "intended",
    }.get(variant, "modern")
    config.deep = ()
    if variant == "deep_cpu":
        config.own_bits = (48,)
        config.seeds = 1
        config.rows = tuple(row for row in mnist.ROWS if row[0] in DEEP_CPU)
        config.deep = (
            ("training.batch_size", 250),
            ("training.hashing_epochs", 0.0),
            ("training.hashing_steps", 120),
            ("evaluation.validate_every_epochs", 0.0),
            ("evaluation.validate_every_steps", 120),
        )
        config.unlabelled = (("DHS", UNLABELLED), ("SSDH", (("training.labelled_share", 0.5),)))
    if variant == "pretrained":
        config.own_bits = (48,)
        config.seeds = 3
        config.settings = (("shallow.side", SIDE),)
        config.deep = (
            ("training.hashing_epochs", 0.0),
            ("training.hashing_steps", 500),
            ("evaluation.validate_every_epochs", 0.0),
            ("evaluation.validate_every_steps", 500),
        )
        config.own_settings = (
            (FROZEN, (*PRETRAINED, ("training.freeze", "backbone"))),
            (TUNED, PRETRAINED),
        )
        config.rows = (
            *((f"{name}, EfficientNet-Lite2", LITE2, method, 3) for name, method in mnist.SHALLOW),
            (FROZEN, LITE2, "dhs", 3),
            (TUNED, LITE2, "dhs", 1),
        )
    config.rows = tuple(
        (name, "gist" if features == "pixels" else features, method, seeds)
        for name, features, method, seeds in config.rows
    )
    return config
