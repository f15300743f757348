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

from configs import folder


def get_config(variant: str = "intended"):
    """Return the config of a variant, see configs/default.py and configs/folder.py."""
    config = folder.get_config(variant)
    config.data.name = "nuswide"
    config.data.concepts = 21
    config.data.protocol = "nus-21"
    config.training.batch_size = 256
    config.training.autoencoder_epochs = 2.0
    return config
