"""Where data stands that tests read if it is there."""

from pathlib import Path

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
PREPARED = SHARED / "tensorflow_datasets"
SUBSET = SHARED / "multilabel"
