"""How long to wait before trying again, so that many do not try at once."""

from dstore.base.entropy import Entropy
from dstore.base.limits import ETCD_RECONNECT_S_MAX, ETCD_RECONNECT_S_MIN


class Backoff:
    """Seconds between two tries: doubled each time, the upper half by chance."""

    __slots__ = ("_entropy", "_next_s")

    def __init__(self, entropy: Entropy) -> None:
        """Begin with ETCD_RECONNECT_S_MIN."""
        self._entropy = entropy
        self._next_s = ETCD_RECONNECT_S_MIN

    def reset(self) -> None:
        """Begin anew, after a success."""
        self._next_s = ETCD_RECONNECT_S_MIN

    def next_s(self) -> float:
        """Return how long to wait now, <= ETCD_RECONNECT_S_MAX."""
        full_s = self._next_s
        self._next_s = min(2 * full_s, ETCD_RECONNECT_S_MAX)
        return full_s * (0.5 + self._entropy.token(1)[0] / 510)
