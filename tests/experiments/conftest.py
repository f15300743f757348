"""The Slurm of this machine."""

import pathlib
import tempfile

import pytest
import slurm_cluster


@pytest.fixture(scope="module")
def cluster():
    """Four nodes; a short path, for the sockets."""
    with (
        tempfile.TemporaryDirectory(prefix="slurm_", dir="/tmp") as folder,
        slurm_cluster.cluster(pathlib.Path(folder)),
    ):
        yield
