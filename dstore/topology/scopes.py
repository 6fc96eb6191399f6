"""Which keys a process takes into its view: the others cost it neither memory nor time."""

from collections.abc import Callable

from dstore.topology import keyspace as keys

Scope = Callable[[keys.Path], bool]


def everything(_: keys.Path) -> bool:
    """Take in every key."""
    return True


def routing(path: keys.Path) -> bool:
    """Take in what a proxy routes by: not what nodes hold and say of each table, no notices."""
    return not isinstance(path, keys.NodeRangesPath | keys.NodeTablePath | keys.NoticePath)


def routing_and(node: keys.ComponentId) -> Scope:
    """Take in what a proxy does and what one node is to hold: the scope of that node."""

    def is_taken(path: keys.Path) -> bool:
        is_own = isinstance(path, keys.NodeRangesPath | keys.NodeTablePath) and path.node == node
        return is_own or routing(path)

    return is_taken
