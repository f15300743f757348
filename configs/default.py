"""Every field, with its meaning and its default. Data sets' configs start from here.

Variants set the choices where the paper is wrong or silent:
  printed   the paper to the letter, its broken parts included (eq. (3), sums instead of means), at
            its full 64 to 512 filters and without augmentation on every data set;
  printed_small  the same with a quarter of the filters, for CPUs;
  intended  what the paper means (the default);
  modern    the best recipe we know for the data set;
  semi      a tenth of the labels; unlabelled rows learn from the network's average;
  smoke     seconds long, to see that everything runs.

Any duration is given in `_steps` or in `_epochs`; the one that is 0 is not used.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

PRINTED = ("printed", "printed_small")


def get_config(variant: str = "intended") -> ConfigDict:
    """Return the config of a variant."""
    config = ConfigDict()
    config.variant = variant
    config.seed = 0  # of parameters, shuffling and augmentation
    # dhs (the paper's), another deep one (see dsh_jax/methods/deep.py), or lsh | sh | pcah | itq |
    # sdh | bihalf | adsh, which fit features (see dsh_jax/methods/shallow.py).
    config.method = "dhs"

    # Of experiments.sweep: settings and their values, (("model.bits", (12, 24)), ("seed", (0, 1))).
    config.sweep = ()  # a run has none
    config.sweep_kind = "grid"  # grid | zip | random, see dsh_jax/sweeps/sweep.py
    config.sweep_points = 0  # how many, of random
    config.sweep_seed = 0  # of random and of a search

    config.data = data = ConfigDict()
    # A data set of ours (digits, mirflickr, nuswide), a form in which people hold theirs (lists,
    # folder, csv, npz, cifar-python, cifar-bin, idx), or any TFDS image-classification set.
    data.name = "digits"
    data.data_dir = ""  # folder of the images; of TFDS sets, empty: TFDS_DATA_DIR, TFDS's default
    data.labels_path = ""  # of the lists' folder or the CSV file, where they are not in data_dir
    data.concepts = 0  # mirflickr: 24 | 38 | 14; nuswide: 21 | 81; 0: the first of them
    data.separator = "|"  # between the labels of a CSV row
    data.label_column = ""  # of parquet, where several columns could hold classes
    data.path_prefix = ""  # taken off the front of each path in lists
    data.skip = ""  # comma list of missing, corrupt, duplicate: leave out and count, else an error
    data.image_size = 0  # side to which images are brought; photographs need it, e.g. 64, 128, 224
    data.fit = "squash"  # squash all of a photograph into the square | crop its middle
    data.cache = "auto"  # of decoded photographs: memory | disk | none | auto (memory up to 4 GiB)
    data.cache_dir = ""  # folder for `disk`, and for what parquet and webdataset unpack
    # Whether images in an array lie on the devices, and batches are drawn there: auto (up to a
    # quarter of their memory) | on | off.
    data.resident = "auto"
    data.pad_small = True  # pad images below 32×32 to 32×32 with zeros
    # official | paper | cifar-0 | cifar-1 | cifar-2 | ssdh | nus-21 | nus-81 | mir-ssdh |
    # mir-4000 | mir-2000q | random | unseen-classes: see dsh_jax/data/protocols.py.
    data.protocol = "official"
    data.split_path = ""  # a saved split.npz, in place of a protocol
    data.split_seed = 0  # of the split; apart from `seed`, so that seeds share their queries
    data.queries = 0  # 0: as many as the protocol has
    data.train_rows = 0  # validation included; 0: as many as the protocol has
    data.validation = 0.05  # share of the training rows for model selection
    data.unseen = 0.10  # share of the training rows kept as unseen database, if there is no other
    data.features_path = ""  # of model.encoder=features: .npy with a row for each image
    data.label_less = "drop"  # rows without labels: drop | database (there, unlabelled) | keep
    data.labels_per_class = 0  # labelled rows of each class; 0: no such limit
    data.label_fraction = 1.0  # share of the training rows that is labelled

    config.deep = deep = ConfigDict()  # of the other deep methods; None: the method's own
    deep.weight = placeholder(float)  # of its second term
    deep.margin = placeholder(float)
    deep.scale = placeholder(float)  # of inner products or cosines
    deep.pairwise = placeholder(float)  # of pairs: csq, .2 in the official code; idhn

    config.shallow = shallow = ConfigDict()  # of the methods that fit features
    shallow.features = "pixels"  # pixels | gist | vggf | a pretrained encoder's name | file
    shallow.features_path = ""  # of vggf: its weights; of file: .npy [rows, dimensions]
    shallow.side = 0  # pixels to which images are brought before a pretrained encoder; 0: as is
    shallow.center = False  # lsh: planes through the mean; bihalf: features without it
    shallow.orthonormalise = False  # lsh
    shallow.iterations = 50  # itq; adsh: rounds of queries and codes
    shallow.steps = 4000  # bihalf
    shallow.anchors = 1000  # sdh
    shallow.normalise = True  # sdh: features of length 1
    shallow.sigma = 0.4  # sdh: width of the kernel; 0: mean distance to the nearest anchor
    shallow.restart = False  # sdh: bits start from 0 in each step, as in the authors' program

    config.augment = _augmentation()  # of training images
    config.strong = _augmentation()  # of unlabelled ones instead, where semi has terms

    config.model = model = ConfigDict()
    model.bits = 48
    model.encoder = "conv"  # conv: the paper's | efficientnet_lite0 | 1 | 2 | features
    model.weights = ""  # of an efficientnet: .pth, .safetensors or .npz; empty: its package's
    model.side = 0  # pixels to which images are brought before an efficientnet; 0: as they are
    model.frozen_norms = True  # whether an efficientnet's batch statistics stay as they came
    model.filters = (64, 128, 256, 512, 512)  # of the encoder's groups; the decoder keeps these
    # From here to dtype of the encoder `conv`, but fc_dim, batch_norm, nonlinearity and norm_*.
    model.width = 1.0  # multiplies the filters
    model.convs_per_group = (1, 1, 1, 1, 1)  # (2, 2, 3, 3, 3) is VGG-16's
    model.pool_after = "group"  # group | first: the pool after the group's first convolution
    model.pools = 5  # how many of the groups have their pool, the first ones
    model.global_pool = False  # FC6 sees each channel's maximum over all places
    model.fc_dim = 1024
    model.batch_norm = True
    model.whitening = 0  # side of the patches that a fixed first convolution whitens; 0 is off
    model.nonlinearity = "relu"  # relu | gelu, of the encoder
    model.norm_momentum = 0.9  # of BatchNorm's running statistics, in the encoder
    model.norm_scale = True  # whether BatchNorm has trained factors, in the encoder
    model.pool_before_norm = False  # pools before BatchNorm: cheaper
    model.kernel_init = "he"  # he | dirac (channels are passed on at first)
    model.activation = "intended"  # printed | intended | straight_through: eq. (3)
    model.decode_from = "feature"  # feature (FC7) | bcoding
    model.dtype = "float32"  # of the computation; bfloat16 on recent GPUs
    model.conv_precision = "float32"  # bfloat16: of 3×3 convolutions' factors; fast CPUs' (AMX)

    config.loss = loss = ConfigDict()
    loss.x = 1.0  # classification
    loss.y = 0.1  # binarization
    loss.z = 0.1  # balance within a code
    loss.r = 0.0  # reconstruction beside the hashing terms; the paper trains it apart
    loss.bit_balance = 0.0  # extra: each bit's mean over the batch
    loss.decorrelation = 0.0  # extra: covariance between bits
    loss.reduction = "mean"  # mean | sum (printed; the weights then hang on batch size and bits)
    loss.applied_to = "bcoding"  # bcoding (B) | sigmoid (a^H, printed): what y and z see
    loss.multilabel = "margin"  # margin (eq. (5)) | bce, of data with several labels a row
    loss.exponent = 1  # of eq. (5), 1 | 2
    loss.label_smoothing = 0.0
    loss.reconstruction = "mse"  # mse | bce
    loss.beta = 1.0  # β of (tanh(βz) + 1)/2
    loss.beta_growth = 0.0  # β_t = β (1 + growth · t)^power
    loss.beta_power = 0.5

    # What unlabelled images teach, by the network's own average, which then needs ema_decay > 0;
    # all weights at 0 are off. See docs/semi_supervised.md.
    config.semi = semi = ConfigDict()
    semi.pseudo_label = 0.0  # weight of the average's confident classes on strong views
    semi.threshold = 0.95  # least probability of such a class, in (0, 1]
    semi.threshold_start = 0.0  # at the first step, rising in a straight line; 0: no rise
    semi.temperature = 0.0  # of the average's probabilities as labels; 0: its likeliest class
    semi.alignment = False  # its classes expected as often as among labelled rows
    semi.confident_share = 0.5  # multi-label: of each class's expected rows, how many are confident
    semi.consistency = 0.0  # weight of B on strong views against the average's on weak ones
    semi.similarity = 0.0  # weight of B's similarities among strong views against the average's
    semi.similarity_temperature = 0.1  # of the softmax over these, as a share of all bits
    # Steps of a stage before, on the labelled rows of a batch alone: the teacher's first labels.
    semi.labels_first_steps = 0
    semi.ramp = 0.25  # share of the steps over which these weights rise from 0
    semi.noise = 0.0  # standard deviation on inputs, which the decoder is to take away again
    semi.reconstruction_end = 1.0  # share of loss.r that is left at the end

    config.optimizer = optimizer = ConfigDict()
    optimizer.name = "adamw"  # sgd (Nesterov) | adam | adamw | muon (of kernels; the rest by adam)
    optimizer.schedule = "one_cycle"  # constant | cosine | linear | one_cycle | steps
    optimizer.learning_rate = 2e-3  # at its peak
    optimizer.adam_learning_rate = 2e-3  # of muon: of what is no kernel of encoder or decoder
    optimizer.warmup = 0.25  # share of the steps
    optimizer.boundaries = (0.5, 0.75)  # of `steps`, as shares of the training
    optimizer.factor = 0.1  # of `steps`
    optimizer.momentum = 0.9  # of sgd and muon
    optimizer.backbone_factor = 0.1  # of the steps of a pretrained network's weights
    optimizer.held_norms = False  # muon's kernels in the encoder keep the norm √filters
    optimizer.weight_decay = 5e-4  # λ
    # optimizer (adamw: decoupled; sgd: λW in the gradient, half of what `loss` gives) | loss
    # (λ‖W‖², printed).
    optimizer.weight_decay_in = "optimizer"
    optimizer.weight_decay_kernels = "trained"  # W: of the parts that the stage trains | classifier
    optimizer.clip_norm = 0.0  # 0 is off

    config.training = training = ConfigDict()
    training.mode = "two_stage"  # two_stage (autoencoder, then hashing) | joint
    training.freeze = (
        ""  # of two_stage: encoder, for hashing to leave it as the autoencoder made it
    )
    training.batch_size = 128  # over all devices
    training.labelled_share = 0.5  # of a batch, where some rows are unlabelled
    training.autoencoder_epochs = 1.0
    training.autoencoder_steps = 0
    training.hashing_epochs = 5.0
    training.hashing_steps = 0
    training.ema_decay = 0.0  # of the weights' average, used for evaluation; 0 is off
    training.log_every_steps = 50  # and steps in one program, on an accelerator

    config.evaluation = evaluation = ConfigDict()
    evaluation.batch_size = 500  # over all devices
    # Views of an image whose logits are averaged into its code: 1 (itself) | 2 (and its mirror
    # image) | 6 (both, also moved by a pixel towards two opposite corners).
    evaluation.views = 1
    evaluation.validate_every_epochs = 1.0  # also when a checkpoint is saved
    evaluation.validate_every_steps = 0
    evaluation.validation_database = 5000  # training rows that validation ranks

    if variant in PRINTED:
        model.activation = "printed"
        model.batch_norm = False
        loss.reduction = "sum"
        loss.applied_to = "sigmoid"
        optimizer.weight_decay_in = "loss"
        data.label_fraction = 1.0
    elif variant == "semi":
        training.mode = "joint"
        training.labelled_share = 0.25
        training.ema_decay = 0.99
        data.label_fraction = 0.1
        loss.y = 0.0
        loss.z = 0.0
        semi.pseudo_label = 1.0
        semi.consistency = 1.0
    elif variant not in ("intended", "modern", "smoke"):
        raise ValueError(
            f"unknown variant {variant!r}; known: printed, printed_small, intended, modern, semi, "
            "smoke."
        )
    to_the_letter(config, variant)
    return config


def _augmentation() -> ConfigDict:
    """Return the settings of an augmentation, all off."""
    augment = ConfigDict()
    augment.shift = 0  # pixels, up to
    augment.shift_border = "zeros"  # zeros | reflect
    augment.flip = False  # left to right
    augment.flip_by_epoch = False  # each row in every other epoch, instead of at random
    augment.cutout = 0  # side of the square, pixels
    augment.affine_degrees = 0.0  # turn and slant, up to
    augment.affine_scale = 0.0  # stretch of each side, up to this share
    augment.crop_area = 1.0  # smallest share of the image in a random crop; 1 is off
    augment.colour_strength = 0.0  # brightness, contrast and saturation, up to this share
    augment.colour_hue = 0.0  # turn of the hue, up to this share of the circle
    augment.strong_ops = 0  # operations drawn from the strong set; 0 is off
    augment.strong_magnitude = 1.0  # of these, up to this share of the largest
    return augment


def to_the_letter(config: ConfigDict, variant: str) -> None:
    """Undo what a data set's config adds to the paper, for the variants `printed`."""
    if variant not in PRINTED:
        return
    is_small = variant == "printed_small"
    config.model.width = 0.25 if is_small else 1.0
    config.model.fc_dim = 256 if is_small else 1024  # the paper gives no size
    config.augment = _augmentation()
    config.loss.r = 0.0


def shorten(config: ConfigDict, steps: int) -> None:
    """Make a run of some steps in one stage, for `smoke`."""
    config.training.mode = "joint"
    config.training.hashing_epochs = 0.0
    config.training.hashing_steps = steps
    config.training.log_every_steps = 10
