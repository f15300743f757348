"""What every test of an index runs with."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """FAISS's threads wait for each other where the cores are busy."""
    try:
        import faiss
    except ImportError:
        yield
        return
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)
