"""The methods that the paper compares with, and later ones: one file each, or a loss.

A deep method is an objective, and perhaps a head, for the one training loop:

    deep             every deep method by name: its objective, its head, its options
    ssdh_zhang       SSDH of Zhang and Peng
    cnnh             codes of a similarity matrix, then a network
    drsch, ninh      their heads
    greedyhash       its head and loss
    classifier_code  the class that a classifier names, as a code

Those that are a loss alone stand in `losses`: `pairs`, `triplets`, `centres`. A shallow method is
two functions of arrays,

    fit(key, feature_NxD, …)            -> Parameters
    encode(parameters, feature_NxD)     -> logit_NxK, a bit is 1 where the logit is > 0

which take any `features`:

    lsh       random hyperplanes
    spectral  spectral hashing
    pcah      signs of principal components
    itq       iterative quantization
    sdh       supervised discrete hashing
    bihalf    half of a batch's bits are 1
    adsh      a network for queries, and the training rows' codes as variables
    pca       the principal axes that three of them start from
    rows      sums over more rows than fit into memory
"""
