r"""Your own photographs: a folder for each class, below one folder.

  python -m experiments.data --config=configs/folder.py --config.data.data_dir=/data/pets
  python -m experiments.train --config=configs/folder.py --config.data.data_dir=/data/pets \
    --config.data.queries=200 --config.data.train_rows=2000 --workdir=runs/pets

Folders train/, query/ (or test/) and database/ with the same classes in each are taken as they are:
set data.protocol=official. Otherwise data.queries and data.train_rows are drawn at random. The
database is everything that is no query.

For a CSV file with the columns path and labels: data.name=csv, data.labels_path=/data/labels.csv.
"""

from configs import default


def get_config(variant: str = "intended"):
    """Return the config of a variant, see configs/default.py."""
    config = default.get_config(variant)
    config.data.name = "folder"
    config.data.image_size = 64  # 96, 128 and 224 are other usual choices
    config.data.protocol = "random"
    config.augment.flip = True
    config.augment.crop_area = 0.5
    config.strong.flip = True
    config.strong.crop_area = 0.4
    config.strong.strong_ops = 2
    config.strong.cutout = 24
    config.optimizer.learning_rate = 1e-3
    config.training.autoencoder_epochs = 5.0
    config.training.hashing_epochs = 40.0
    config.evaluation.validate_every_epochs = 5.0
    if variant == "modern":
        config.training.mode = "joint"
        config.augment.colour_strength = 0.3
        config.loss.y = 0.0
        config.loss.z = 0.0
    if variant == "smoke":
        config.model.width = 0.125
        config.model.fc_dim = 64
        default.shorten(config, steps=20)
    default.to_the_letter(config, variant)
    return config
