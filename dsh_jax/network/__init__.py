"""The paper's network in Linen: encoder, decoder, bcoding head, classifier.

blocks       what encoder and decoder are made of, and their sizes
encoder      sections 3.1 and 3.2
whitening    a fixed first convolution before it
decoder      its mirror
bcoding      the bcoding layer, eq. (3): where a bit is decided
pretrained   encoders that begin with another network's features
dsh          all of it as one network, and what it gives
convolution  convolution and pooling; fast forms for the CPU
products     products of matrices, in float32 or of bfloat16 factors
depthwise    a convolution of each channel by itself

backbones                  the pretrained networks by name, and their weights
efficientnet_lite, resnet  these networks
weights, torch_file        arrays of other libraries by their names
"""

from dsh_jax.network.bcoding import BcodingHead, bcoding_activation
from dsh_jax.network.blocks import FILTERS, STRIDE
from dsh_jax.network.decoder import Decoder
from dsh_jax.network.dsh import DSH, Outputs
from dsh_jax.network.encoder import Encoder

__all__ = [
    "DSH",
    "FILTERS",
    "STRIDE",
    "BcodingHead",
    "Decoder",
    "Encoder",
    "Outputs",
    "bcoding_activation",
]
