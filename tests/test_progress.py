"""Progress is said now and then, and not of short work."""

from absl import logging

from dsh_jax import progress


def test_long_work_says_how_long_it_takes(monkeypatch, caplog):
    logging.get_absl_logger().propagate = True
    monkeypatch.setattr(progress.time, "monotonic", lambda: 130.0)
    with caplog.at_level("INFO"):
        progress.log_progress("searching", 0.5, 120.0)  # 10 seconds so far
        assert not caplog.messages
        progress.log_progress("searching", 0.25, 100.0)
    assert caplog.messages == ["searching: 25 %, 90 s left"]
