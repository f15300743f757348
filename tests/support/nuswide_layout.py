"""NUS-WIDE's whole native layout, with a few hundred generated images."""

import numpy as np
import photographs
from etils import epath

# In the order of their frequency in NUS-WIDE.
_MOST_FREQUENT = (
    "sky clouds person water animal grass buildings window plants lake ocean road flowers sunset "
    "reflection rocks vehicle snow tree beach mountain"
)
_CONCEPTS = (
    "airport animal beach bear birds boats book bridge buildings cars castle cat cityscape clouds "
    "computer coral cow dancing dog earthquake elk fire fish flags flowers food fox frost garden "
    "glacier grass harbor horses house lake leaf map military moon mountain nighttime ocean person "
    "plane plants police protest railroad rainbow reflection road rocks running sand sign sky snow "
    "soccer sports statue street sun sunset surf swimmers tattoo temple tiger tower town toy train "
    "tree valley vehicle water waterfall wedding whales window zebra"
)
MOST_FREQUENT, CONCEPTS = _MOST_FREQUENT.split(), _CONCEPTS.split()


def labels(rows):
    """Return labels [rows, 81]: the 21 in their known order of frequency, the others rarer.

    Every image has one of the 21, a third also sky, and a few one of the others.
    """
    rng = np.random.default_rng(0)
    label = np.zeros((rows, len(CONCEPTS)), np.uint8)
    share = np.arange(24, 3, -1)  # of the 21, from sky to mountain
    first = np.repeat(np.arange(21), [rows - share[1:].sum(), *share[1:]])
    columns = np.array([CONCEPTS.index(name) for name in MOST_FREQUENT])
    label[np.arange(rows), columns[rng.permutation(first)]] = 1
    label[rng.random(rows) < 1 / 3, columns[0]] = 1
    for c in np.setdiff1d(np.arange(len(CONCEPTS)), columns):
        label[rng.permutation(rows)[:3], c] = 1
    return label


def write(root, rows=300):
    """Write images, lists with backslashes, prefixes and blanks, and all label files."""
    root = epath.Path(root)
    label = labels(rows)
    folders = ("actor", "bridges", "zoo")
    images = [f"{folders[row % 3]}/{row:04}_{7919 * row}.jpg" for row in range(rows)]
    for row, image in enumerate(images):
        photographs.write(root / "Flickr" / image, row)
    is_test = np.arange(rows) % 5 < 2
    lists = {"Imagelist": np.ones(rows, bool), "TrainImagelist": ~is_test, "TestImagelist": is_test}
    for name, is_in in lists.items():
        prefix = "" if name == "Imagelist" else "C:\\ImageData\\Flickr\\"
        lines = [
            f"{prefix}{image.replace('/', chr(92))} \r\n"
            for image, inside in zip(images, is_in, strict=True)
            if inside
        ]
        write_text(root / "ImageList" / f"{name}.txt", "".join(lines))
    for c, name in enumerate(CONCEPTS):
        truth = root / "Groundtruth"
        write_text(truth / "AllLabels" / f"Labels_{name}.txt", column(label[:, c]))
        for part, is_in in (("Train", ~is_test), ("Test", is_test)):
            write_text(
                truth / "TrainTestLabels" / f"Labels_{name}_{part}.txt", column(label[is_in, c])
            )
    write_text(root / "ConceptsList" / "Concepts81.txt", "".join(f"{name}\n" for name in CONCEPTS))
    write_text(root / "NUS_WID_Tags" / "AllTags81.txt", "0 1 0\n" * rows)
    return label


def column(value_N):
    """Return a label file's text."""
    return "".join(f"{value} \n" for value in value_N)


def write_text(path, text):
    """Write a text and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
