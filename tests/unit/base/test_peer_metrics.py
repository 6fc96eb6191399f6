"""What is counted of other components' calls."""

from __future__ import annotations

from dstore.base.clock import NS_PER_S
from dstore.base.metrics import create_metrics


def test_the_time_at_work_is_the_mean_number_at_work() -> None:
    """Two calls at a time for a second, one for another: three seconds, over two of the clock."""
    metrics = create_metrics()
    peers = metrics.peers
    peers.calls, peers.frames_received, peers.frames_sent = 2, 1, 2
    for at_s in (100, 100):
        peers.began(at_s * NS_PER_S)
    for at_s in (101, 102):
        peers.ended(at_s * NS_PER_S)
    peers.began(110 * NS_PER_S)  # nobody was at work in between
    lines = metrics.render().decode().splitlines()
    assert "dstore_peer_call_seconds_total 3.0" in lines
    assert "dstore_peer_calls_total 2.0" in lines
    assert 'dstore_peer_frames_total{way="received"} 1.0' in lines
    assert 'dstore_peer_frames_total{way="sent"} 2.0' in lines
