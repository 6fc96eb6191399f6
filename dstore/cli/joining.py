"""Which roles join a cluster with a token."""

from enum import StrEnum


class JoiningRole(StrEnum):
    """What a join token admits; a control joins by its store and control's key instead."""

    NODE = "node"
    PROXY = "proxy"
