"""Counters and gauges, as text for Prometheus."""

import pytest

from oriole.metrics import Metrics


def test_renders_sorted_with_labels() -> None:
    metrics = Metrics()
    metrics.gauge("connections", "Connections now.", lambda: 4)
    metrics.counter("bytes_received", "Bytes from peers.").value += 10
    metrics.counter("dropped", "Messages dropped.", reason="queue full").value += 2
    metrics.counter("dropped", "Messages dropped.", reason='a"\\\n').value += 1
    assert metrics.render() == (
        "# HELP bytes_received Bytes from peers.\n"
        "# TYPE bytes_received counter\n"
        "bytes_received 10\n"
        "# HELP connections Connections now.\n"
        "# TYPE connections gauge\n"
        "connections 4\n"
        "# HELP dropped Messages dropped.\n"
        "# TYPE dropped counter\n"
        'dropped{reason="queue full"} 2\n'
        'dropped{reason="a\\"\\\\\\n"} 1\n'
    )


def test_nothing_renders_as_nothing() -> None:
    assert Metrics().render() == ""


def test_who_asks_again_gets_the_same_counter() -> None:
    metrics = Metrics()
    assert metrics.counter("a", "A.", x="1", y="2") is metrics.counter("a", "A.", y="2", x="1")
    assert metrics.counter("a", "A.", x="1") is not metrics.counter("a", "A.", x="2")


def test_refuses_a_bad_name_and_a_second_kind() -> None:
    metrics = Metrics()
    metrics.counter("a", "A.")
    with pytest.raises(ValueError, match="already a counter"):
        metrics.gauge("a", "A.", lambda: 1)
    with pytest.raises(ValueError, match="no name for a metric"):
        metrics.counter("A b", "A.")
