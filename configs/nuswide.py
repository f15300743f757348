r"""NUS-WIDE: 269,648 photographs, 81 concepts. The paper's Table 1, row DHS: .801 to .810.

Its native layout in one folder: ImageList/, Groundtruth/AllLabels/, ConceptsList/, Flickr/.

  python -m experiments.train --config=configs/nuswide.py \
    --config.data.data_dir=/data/nuswide --config.data.skip=missing --workdir=runs/nuswide

Query: 100 of each of the 21 most frequent concepts; training: 500 of each; database: all others of
195,834 images with one of the 21, training included. Chance level: mAP .37.
For all 81: data.concepts=81, data.protocol=nus-81.

Not measured: the photographs may not be passed on. data.skip=missing counts and leaves out those
that Flickr no longer has.
"""

from configs import default


def get_config(variant: str = "intended"):
    """Return the config of a variant, see configs/default.py."""
    config = default.get_config(variant)
    config.data.name = "nuswide"
    config.data.image_size = 64  # 96, 128 and 224 are other usual choices
    config.data.concepts = 21
    config.data.protocol = "nus-21"
    config.augment.flip = True
    config.augment.crop_area = 0.5
    config.optimizer.learning_rate = 1e-3
    config.training.batch_size = 256
    config.training.autoencoder_epochs = 2.0
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
        config.training.mode = "joint"
        config.training.hashing_epochs = 0.0
        config.training.hashing_steps = 20
        config.training.log_every_steps = 10
    return config
