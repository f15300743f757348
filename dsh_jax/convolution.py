import flax.linen as nn
import jax

conv_general_dilated = jax.lax.conv_general_dilated


def max_pool_2x2(x):
    return nn.max_pool(x, (2, 2), strides=(2, 2))
