"""The paper's Tables 1 and 2 on MNIST: which methods, under which protocols, how trained.

Rows without suffix hash the 784 grey pixels, `-VGGF` rows the activations of a network that was
trained on ImageNet, whose weights are not ours to give: set `vggf_path` to them. `-FC7` rows, with
`fc7_path`, stand in for those: FC7 of an encoder of ours. The deep rows all have the network and
augmentation of configs/mnist.py:modern, batches and steps alike; none was trained before.
"""

from ml_collections import ConfigDict

DEEP = "ours, from scratch"
VGGF = "VGG-F, ImageNet"
FC7 = "FC7 of our encoder"
CUT = "DRSCH, cut"  # one long code for every length
# What a row learns from unlabelled rows by, where there are some. The other deep rows have batches
# of labelled rows only.
UNLABELLED = (
    (
        "DHS",
        (
            ("semi.pseudo_label", 1.0),
            ("semi.consistency", 1.0),
            ("training.ema_decay", 0.99),
            ("training.labelled_share", 0.5),
        ),
    ),
    ("SSDH", (("training.labelled_share", 0.5),)),
)

# Name of the row, what makes its features, the method, how many seeds.
ROWS = (
    ("DHS", DEEP, "dhs", 3),
    ("SSDH", DEEP, "ssdh_zhang", 3),
    ("DRSCH", DEEP, "drsch", 3),
    ("NINH", DEEP, "ninh", 3),
    ("CNNH", DEEP, "cnnh", 3),
    ("SDH-VGGF", VGGF, "sdh", 3),
    ("ITQ-VGGF", VGGF, "itq", 10),
    ("SH-VGGF", VGGF, "sh", 1),
    ("LSH-VGGF", VGGF, "lsh", 10),
    ("SDH", "pixels", "sdh", 3),
    ("ITQ", "pixels", "itq", 10),
    ("SH", "pixels", "sh", 1),
    ("LSH", "pixels", "lsh", 10),
    # Not in the paper.
    (CUT, DEEP, "drsch", 3),
    ("DHS, labels alone", DEEP, "dhs", 3),
    ("SSDH-Yang", DEEP, "ssdh_yang", 3),
    ("CNNH+", DEEP, "cnnh_plus", 3),
    ("HashNet", DEEP, "hashnet", 3),
    ("DPSH", DEEP, "dpsh", 3),
    ("DTSH", DEEP, "dtsh", 3),
    ("DSH", DEEP, "dsh", 3),
    ("GreedyHash", DEEP, "greedyhash", 3),
    ("CSQ", DEEP, "csq", 3),
    ("OrthoHash", DEEP, "orthohash", 3),
    ("class as code", DEEP, "classifier_code", 3),
)
SHALLOW = (("SDH", "sdh"), ("ITQ", "itq"), ("SH", "sh"), ("LSH", "lsh"))
FC7_ROWS = (
    ("SDH-FC7", FC7, "sdh", 3),
    ("ITQ-FC7", FC7, "itq", 10),
    ("SH-FC7", FC7, "sh", 1),
    ("LSH-FC7", FC7, "lsh", 10),
)


def get_config(variant: str = "full") -> ConfigDict:
    """Return what the tables hold.

    `full`; `paper`, the paper's 13 rows; `shallow`, those that fit features; `smoke`, in minutes,
    to see that everything runs.
    """
    if variant not in ("full", "paper", "shallow", "smoke"):
        raise ValueError(f"unknown variant {variant!r}; known: full, paper, shallow, smoke.")
    config = ConfigDict()
    config.dataset = "MNIST"  # of the paper's tables
    config.base = "configs/mnist.py:modern"  # of every run
    config.bits = (12, 24, 32, 48)
    config.own_bits = ()  # of bits, under own_protocol; none: all
    config.seeds = 10  # of a row, at most
    config.vggf_path = ""  # imagenet-vgg-f.mat of MatConvNet's pre-trained models
    # What experiments.features --kind=encoder has written of a run, such as fc7-{protocol}.npy: a
    # run for each protocol, whose labels it read; the queries of one may be trained on by another.
    config.fc7_path = ""
    config.fc7_rows = FC7_ROWS  # with fc7_path only
    config.cut_row, config.cut_bits = CUT, 64  # trained once, at so many bits
    # As far as one can tell, the paper measured its own method under a protocol of its own, and
    # took the other numbers from SSDH's authors, who had another.
    config.own_protocol = "paper"
    config.others_protocol = "ssdh"
    config.settings = ()  # of every run, (("training.hashing_steps", 5), …)
    # Of deep rows: 27 epochs of the labelled images of the others' protocol, 2 of the own one's.
    config.deep = (
        ("training.hashing_epochs", 0.0),
        ("training.hashing_steps", 1000),
        ("evaluation.validate_every_epochs", 0.0),
        ("evaluation.validate_every_steps", 1000),
    )
    config.unlabelled = UNLABELLED
    config.own_settings = ()  # of deep rows by their names, as unlabelled has them
    config.rows = ROWS
    if variant == "paper":
        config.rows = ROWS[:13]
    if variant == "shallow":
        config.rows = tuple(row for row in ROWS if row[1] != DEEP)
    if variant == "smoke":
        config.base = "configs/mnist.py:smoke"
        config.bits = (12,)
        config.seeds = 1
        config.own_protocol = "ssdh"
        config.deep = ()
        config.settings = (
            ("training.hashing_steps", 5),
            ("model.width", 1 / 16),
            ("shallow.anchors", 100),
        )
        config.rows = ROWS[:13]
    return config
