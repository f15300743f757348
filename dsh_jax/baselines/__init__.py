"""The methods that the paper compares with, one file each; import what you need.

A shallow method is two functions of arrays,

    fit(key, feature_NxD, …)            -> Parameters
    encode(parameters, feature_NxD)     -> logit_NxK, a bit is 1 where the logit is > 0

which take any features: pixels, GIST, a network's activations (`features`). A deep method is a loss
and perhaps a head for the one training loop.

    lsh         random hyperplanes
    spectral    spectral hashing
    itq         iterative quantization
    sdh         supervised discrete hashing
    principal   the principal axes that two of them start from
"""
