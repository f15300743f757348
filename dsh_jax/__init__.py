"""Deep semi-supervised hashing for image retrieval, in JAX and Flax.

A map, in the order in which data flows; import what you need, nothing happens at import:

    pictures        from a file to pixels: the one reader of training and encoding
    data.sources    images with labels by name: our data sets, people's own, TFDS
    data.source     their one form; data.images: arrays, or files decoded as they are read
    data.cache      photographs decoded once and kept
    data.protocols  which rows are labelled, unlabelled, validation, query, database
    data.splits     a choice of rows: checked, hashed, saved
    data.summary    what a split holds, in numbers
    data.pipeline   tf.data batches: stateless for training, padded and masked for evaluation
    augment         preparation and augmentation on the device; warp, colours, strong
    convolution     convolution and pooling; fast forms for the CPU
    bcoding         the bcoding layer, eq. (3)
    models          encoder, decoder, bcoding head, classifier
    losses          every term of the objective
    methods         other deep methods for the same loop
    pairs           their losses over pairs of rows; triplets, centres
    baselines       one file a method; features
    optimizer       optimizers and schedules by name
    step            one training step
    build           from a config to data and network
    stages          from a config to stages of training
    train           the loop
    parallel        the only file that knows devices and processes
    checkpoint      the only file that knows Orbax
    run             a run's folder: config, environment, metrics
    journal         its records and checkpoints while it trains
    pace            its speed
    interruption    save before stopping
    population      runs that differ in scalars, in one program; point: one of them
    sweep           a sweep's points; sweep_table: what came of them
    encode          images to codes
    codes           bits, bytes, distances: the bit order
    retrieval       distance counts, top-k search, weighted and asymmetric distances
    sums            long sums of float32, the same on every processor
    metrics         every tie-aware metric as a function of the counts
    radius_metrics  those within a Hamming radius
    graded          those of graded relevance
    statistics      intervals and comparisons over queries
    ranked          metrics of one order of the ties
    presets         mAP as other evaluators print it
    code_files      codes that people hold, from files
    code_set        their checks
    evaluate        codes to numbers, a run to its results
    shallow         runs of methods that fit features
    comparison      tables beside the paper's
    gallery         neighbours and reconstructions of a run
    reconstruction  images as the decoder rebuilds them, and by which state
    contact_sheet   many images on one
    report          the HTML page
    plots           line plots
    exported        a run without its data: `load`; fingerprint, its name
    image_encoder   images in, codes out; image_names, which are meant
    encode_files    any number of files; image_codes, the file of their codes
    changed_files   which were replaced or have vanished since; file_state, how it is told
    annotation      codes in images, as XMP; annotated and annotated_index, folders of them
    search_page     neighbours as a page
    progress        how much of long work is done
"""


def __getattr__(name: str):
    if name == "load":  # when it is asked for: it imports the library
        from dsh_jax.exported import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
