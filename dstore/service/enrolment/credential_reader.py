"""Keep a proxy's credentials as control's are: everything once, then what changes, every second.

What is read lives in memory only. While control is away the last known credentials go on; a
revocation that control could not tell yet is the price, and `SigningKeys.serves` its bound in days.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from dstore.base.limits import CREDENTIALS_ANSWER_S, CREDENTIALS_POLL_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.security.signing_keys import AccessKeyDays
from dstore.service.calls.key_calls import AskCredentials, BearerGiven, Credentials

if TYPE_CHECKING:
    from dstore.replication.peers.port import Peer

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialChange:
    """What came or changed, and the ids of what was revoked."""

    access_keys: Sequence[AccessKeyDays] = field(repr=False)
    bearers: Sequence[BearerGiven] = field(repr=False)
    revoked_access_keys: Sequence[str]
    revoked_bearers: Sequence[str]


class CredentialSink(Protocol):
    """Where credentials are kept and used; both methods are called from the event loop."""

    def replace(
        self,
        access_keys: Sequence[AccessKeyDays],
        bearers: Sequence[BearerGiven],
        *,
        through_day: int,
    ) -> None:
        """Take all there are; what is not among them was revoked.

        `through_day` is the last day that there are keys for, days since 1970 UTC.
        """

    def change(self, change: CredentialChange) -> None:
        """Take what changed."""


class CredentialReader:
    """Asks control; it belongs to the event loop."""

    def __init__(self, control: Peer, sink: CredentialSink) -> None:
        """Prepare; `run` or `read` asks.

        Args:
            control: a `ControlLink`, or control in this process.
            sink: is told.
        """
        self._control = control
        self._sink = sink
        self._state = b""
        self._reading = asyncio.Lock()  # what was asked first is told first
        self.version: int | None = None
        """Of what the sink has, by control's count of changes; None before the first reading."""
        self.problem = ""
        """Why control was not heard at the last question; "" if it was."""

    async def run(self) -> None:
        """Keep up, until cancelled; a critical task's work."""
        while True:
            try:
                await self.read()
                self._well()
            except DStoreError as error:
                self._ill(error.message)
            await asyncio.sleep(CREDENTIALS_POLL_S)

    async def read(self) -> None:
        """Ask once, and go on until the sink has what control had when it was asked.

        Raises: Unavailable: control is away. Refused(FORBIDDEN): this proxy was removed.
        """
        async with self._reading:
            await self._read()

    async def _read(self) -> None:
        answer = await self._ask(AskCredentials(state=self._state))
        is_even = True
        if answer.is_whole:
            first = answer.state
            is_even = await self._take_all(answer)
            # What changed while the pages were read.
            answer = await self._ask(AskCredentials(state=first))
            if answer.is_whole:
                return  # too much, or a new day: from the beginning at the next question
        self._sink.change(
            CredentialChange(
                access_keys=[key.days() for key in answer.access_keys],
                bearers=answer.bearers,
                revoked_access_keys=answer.revoked_access_keys,
                revoked_bearers=answer.revoked_bearers,
            )
        )
        self.version = answer.version
        if is_even:
            self._state = answer.state

    async def _take_all(self, first: Credentials) -> bool:
        """Read the other pages, and hand all over. Returns: whether they are of one state.

        If not, no state names what the sink has, not even once the changes since the first page
        are made: another control may have given the pages than tells the changes, and one that
        looked less often never saw a key that came and went. So everything is read anew then.
        """
        keys = [key.days() for key in first.access_keys]
        bearers = list(first.bearers)
        through_day, page, is_even = first.through_day, first, True
        while page.after:
            page = await self._ask(AskCredentials(after=page.after))
            is_even = is_even and page.state == first.state
            keys.extend(key.days() for key in page.access_keys)
            bearers.extend(page.bearers)
            through_day = min(through_day, page.through_day)
        self._sink.replace(keys, bearers, through_day=through_day)
        self.version = first.version
        self._state = first.state if is_even else b""
        _log.info("credentials_read", access_key_count=len(keys), bearer_count=len(bearers))
        return is_even

    async def _ask(self, asked: AskCredentials) -> Credentials:
        return await self._control.call(asked, deadline_s=CREDENTIALS_ANSWER_S)

    def _well(self) -> None:
        if self.problem:
            _log.info("credentials_are_fresh_again")
        self.problem = ""

    def _ill(self, problem: str) -> None:
        if problem != self.problem:
            _log.warning("credentials_not_fresh", reason=problem)
        self.problem = problem
