r"""MIRFLICKR-25K: 25,000 photographs, 38 concepts. The paper's Table 1, row DHS: .850 to .890.

Its native layout in one folder: mirflickr/im*.jpg and mirflickr25k_annotations_v080/*.txt.

  python -m experiments.train --config=configs/mirflickr.py \
    --config.data.data_dir=/data/mirflickr --workdir=runs/mirflickr

Query: 1,000; training and database: 23,581 with a label (`intended`, the paper's division without
the 419 images that have none). `modern`: the field's 1,000 / 4,000 / rest, 24 concepts. Relevance,
a shared label, is the same for 24 and 38 concepts but for four images. Chance level: mAP .54.

Not measured at full size. Measured on a 12 % subset at a reduced size (`subset`), see
experiments/README.md; numbers of a subset are not MIRFLICKR-25K results. `frozen`: the subset
again, the head alone trained on features of EfficientNet-Lite2, which knows ImageNet: .705 on
unseen rows where the paper's network, from scratch, has .597.
"""

from configs import folder


def get_config(variant: str = "intended"):
    """Return the config of a variant, see configs/default.py; `subset` and `frozen`: of a part."""
    part = variant in ("subset", "frozen")
    config = folder.get_config("modern" if part else variant)
    config.variant = variant
    config.data.name = "mirflickr"
    config.data.concepts = 24 if part or variant == "modern" else 38
    config.data.queries = 1000
    config.data.train_rows = 23581
    config.evaluation.validate_every_epochs = 4.0
    if variant == "modern":
        config.data.protocol = "mir-4000"
        config.data.queries = 0
        config.data.train_rows = 0
    if part or variant == "smoke":
        config.data.queries = 300
        config.data.train_rows = 2000
    if part:
        config.data.validation = 0.1
        config.augment.colour_strength = 0.0
        config.model.width = 0.25
        config.model.fc_dim = 256
        config.training.batch_size = 64
        config.training.hashing_epochs = 30.0
        config.evaluation.validate_every_epochs = 5.0
    if variant == "frozen":
        config.data.image_size = 224
        config.model.encoder = config.shallow.features = "efficientnet_lite2"
        config.training.freeze = "backbone"
        # By 200 validation rows: .78; eq. (5) .75 at the end, .77 after ten epochs.
        config.loss.multilabel = "bce"
    return config
