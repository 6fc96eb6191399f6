"""A component's way into a cluster: it was enrolled before, or joins now with its token."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore import __version__
from dstore.base.clock import NS_PER_S
from dstore.base.limits import JOIN_PATIENCE_S, JOIN_TOKEN_CHARS_MAX
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import RefusalKind, Refused, Unavailable, Unknown, invalid
from dstore.service.enrolment.joining import Offer, join
from dstore.service.enrolment.records import Enrolment, load_enrolments
from dstore.topology.backoff import Backoff

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.roles.base import Runtime
    from dstore.security.identity import ComponentRole
    from dstore.settings import Settings

_log: Final = get_logger(__name__)


def has_token(settings: Settings) -> bool:
    """Tell whether the component is to join a cluster, or has been told to before."""
    return settings.join_token is not None or settings.join_token_file is not None


async def enrolled(directory: Path, role: ComponentRole) -> Enrolment | None:
    """Find the cluster that a component belongs to; None: none.

    Raises: Refused: it belongs to several, or the directory is that of another role.
    """
    found = await in_thread(partial(load_enrolments, directory))
    if not found:
        return None
    if len(found) > 1:
        raise Refused(
            RefusalKind.CONFLICT,
            "This directory belongs to several control planes; a process serves one of them.",
        )
    if found[0].role is not role:
        raise Refused(
            RefusalKind.CONFLICT,
            f"This directory is that of a {found[0].role}; a {role} needs another one.",
        )
    return found[0]


async def membership_enrolment(
    runtime: Runtime, role: ComponentRole, *, capacity_bytes: int = 0
) -> Enrolment | None:
    """Find the component's place in its cluster, joining if it has a token and no place yet.

    Controls that are away are asked again for JOIN_PATIENCE_S.

    Args:
        runtime: of the role.
        role: what the component is.
        capacity_bytes: of a node's disk.
    Returns: None: there is neither.
    Raises: what `joining.join` does; Refused: as `enrolled`, or the token's file can't be read.
    """
    settings = runtime.settings
    known = await enrolled(settings.data, role)
    token = settings.join_token
    if settings.join_token_file is not None:
        token = await in_thread(partial(_read, settings.join_token_file, known=known))
    if token is None:
        return known
    offer = Offer(
        uri=settings.peer_url_at(settings.peer_port),
        zone=settings.zone,
        capacity_bytes=capacity_bytes,
        version=__version__,
    )
    until_ns = runtime.clock.monotonic_ns() + int(JOIN_PATIENCE_S * NS_PER_S)
    backoff = Backoff(runtime.entropy)
    while True:
        try:
            return await join(
                settings.data,
                token,
                role=role,
                offer=offer,
                clock=runtime.clock,
                entropy=runtime.entropy,
            )
        except (Unavailable, Unknown) as error:
            if runtime.clock.monotonic_ns() > until_ns:
                raise
            _log.warning("not_joined_yet", reason=error.message)
        await asyncio.sleep(backoff.next_s())


def _read(path: Path, *, known: Enrolment | None) -> str | None:
    """Read the token; once it was used, the file may be gone."""
    try:
        with path.open(encoding="ascii") as file:
            return file.read(JOIN_TOKEN_CHARS_MAX + 1).strip()
    except FileNotFoundError:
        if known is not None:
            return None
        raise invalid(f"The join token's file {path} of join.token_file is not there.") from None
    except (OSError, UnicodeDecodeError):
        raise invalid(f"The join token's file {path} of join.token_file can't be read.") from None
