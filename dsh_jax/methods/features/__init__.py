"""Features of images that the shallow methods hash: a row of numbers for each image.

blocks      any features of a data set, streamed; the pixels themselves; FC7 of a run's encoder
gist        512 numbers of texture and layout, without any training
vggf        4,096 activations of a network trained on ImageNet
matconvnet  its weights, which are the user's
files       the user's own features
"""

from dsh_jax.methods.features.blocks import encoder_features, feature_blocks, pixels
from dsh_jax.methods.features.files import load_features, save_features

__all__ = ["encoder_features", "feature_blocks", "load_features", "pixels", "save_features"]
