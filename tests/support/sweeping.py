"""What tests of sweeps share."""

import csv

from commands import SMALL

SIZES = [f"--config.{name}={value}" for name, value in SMALL.items()]


def rows_of(folder):
    """Return the rows of a sweep's table."""
    return list(csv.DictReader((folder / "sweep.csv").read_text().splitlines()))
