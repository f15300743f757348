"""Layers of a network in NumPy, float64, NCHW as PyTorch lays weights out: one pixel at a time."""

import numpy as np


def same(length, side, stride):
    """Return TensorFlow's SAME padding: an odd pixel of it comes last."""
    whole = max((-(-length // stride) - 1) * stride + side - length, 0)
    return whole // 2, whole - whole // 2


def alike(length, side, stride):
    """Return PyTorch's usual padding: the same on both sides."""
    del length, stride
    return side // 2, side // 2


def convolve(x, weight, stride=1, padding=same):
    """Correlate; a weight with one input channel is a filter for each channel by itself."""
    _, in_channels, side, _ = weight.shape
    pads = [padding(length, side, stride) for length in x.shape[2:]]
    padded = np.pad(x, ((0, 0), (0, 0), *pads))
    height, width = ((length - side) // stride + 1 for length in padded.shape[2:])
    output = 0
    for i in range(side):
        for j in range(side):
            seen = padded[:, :, i : i + (height - 1) * stride + 1 : stride]
            seen = seen[..., j : j + (width - 1) * stride + 1 : stride]
            if in_channels == 1 < x.shape[1]:
                output = output + seen * weight[None, :, 0, i, j, None, None]
            else:
                output = output + np.einsum(
                    "bchw,oc->bohw", seen, weight[:, :, i, j], optimize=True
                )
    return output


def normalise(x, arrays, name, epsilon):
    """Normalise by the running statistics."""
    mean, variance, scale, bias = (
        arrays[f"{name}.{leaf}"][None, :, None, None]
        for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + epsilon) * scale + bias


def max_pool_3x3(x):
    """Take the maximum of every second 3x3 window, one pixel of nothing around."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    height, width = ((length - 3) // 2 + 1 for length in padded.shape[2:])
    windows = [
        padded[:, :, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2]
        for i in range(3)
        for j in range(3)
    ]
    return np.max(windows, axis=0)
