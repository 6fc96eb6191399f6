"""Tokens that admit components: /admin/v1/join-token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dstore.api.admin import rows
from dstore.api.admin.cursors import after_of, after_text
from dstore.api.admin.door import receive, record_change
from dstore.api.http.answer import JSON, Answer, json_answer
from dstore.api.http.json_body import decode_object
from dstore.api.http.request_checks import media_type
from dstore.api.http.route import Route
from dstore.base.limits import JOIN_ADDRESSES_MAX, JOIN_TOKEN_LIFE_S, JOIN_TOKEN_LIFE_S_MAX
from dstore.base.timestamps import instant
from dstore.model.errors import invalid
from dstore.model.values import NumberText
from dstore.security.identity import ComponentRole
from dstore.service.control.status import Health
from dstore.storage.control.records import ComponentState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from dstore.api.admin.ports import Door, JoinTokens
    from dstore.service.control.admission import Admissions, TokenMade
    from dstore.service.control.status import ClusterReports
    from dstore.storage.control.records import JoinTokenRecord

JOIN_TOKENS = "/admin/v1/join-token"
JOIN_TOKEN = f"{JOIN_TOKENS}/{{id}}"


def join_token_routes(
    tokens: JoinTokens, door: Door, *, wall_us: Callable[[], int]
) -> tuple[Route, ...]:
    """Bind the routes to control; `wall_us` tells which tokens are over."""

    async def create(request: web.Request) -> Answer:
        """Make a token and show its text, this once."""
        principal, body = await receive(request, door)
        media_type(request, JSON)
        role, life_s = _asked(decode_object(body, what="join token"))
        made = await tokens.create(role, life_s=life_s, actor=principal.credential)
        record_change("create_join_token", principal, join_token_id=made.record.id, of_role=role)
        shown = {
            "id": made.record.id,
            "role": made.record.role,
            "token": made.text,
            "createdAt": instant(made.record.created_at_us),
            "expiresAt": instant(made.record.expires_at_us),
        }
        return json_answer(shown, status=201)

    async def list_tokens(request: web.Request) -> Answer:
        """List a page of tokens, used and expired ones included."""
        await receive(request, door, parameters=("after",))
        found, after = await tokens.page(after=after_of(request, str))
        now_us = wall_us()
        shown = [rows.join_token(record, now_us=now_us) for record in found]
        return json_answer({"joinTokens": shown, "after": after_text(after)})

    async def revoke(request: web.Request) -> Answer:
        """Let a token admit nobody any more."""
        principal, _ = await receive(request, door)
        token_id = request.match_info["id"]
        await tokens.revoke(token_id, actor=principal.credential)
        record_change("revoke_join_token", principal, join_token_id=token_id)
        return Answer(status=204)

    return (
        Route(method="GET", path=JOIN_TOKENS, handler=list_tokens, operation="list_join_tokens"),
        Route(method="POST", path=JOIN_TOKENS, handler=create, operation="create_join_token"),
        Route(method="DELETE", path=JOIN_TOKEN, handler=revoke, operation="revoke_join_token"),
    )


class PlaneJoinTokens:
    """The join tokens of a control plane, made by one of its processes."""

    def __init__(self, admissions: Admissions, reports: ClusterReports) -> None:
        """Ask `admissions`; `reports` knows where controls are, which each token says."""
        self._admissions = admissions
        self._reports = reports

    async def create(self, role: ComponentRole, *, life_s: int, actor: str) -> TokenMade:
        """See `JoinTokens.create`."""
        controls = await self._reports.controls()
        # Those that are seen come first: who joins tries one after the other.
        controls = tuple(sorted(controls, key=lambda row: row.health is not Health.OKAY))
        addresses = [
            urlsplit(row.uri).netloc for row in controls if row.state is not ComponentState.REMOVED
        ]
        return await self._admissions.create_token(
            role, addresses=addresses[:JOIN_ADDRESSES_MAX], life_s=life_s, actor=actor
        )

    async def page(
        self, *, after: str | None = None
    ) -> tuple[Sequence[JoinTokenRecord], str | None]:
        """See `JoinTokens.page`."""
        page = await self._admissions.tokens(after=None if after is None else (after,))
        return page.records, None if page.after is None else str(page.after[0])

    async def revoke(self, token_id: str, *, actor: str) -> None:
        """See `JoinTokens.revoke`."""
        await self._admissions.revoke_token(token_id, actor=actor)


def _asked(body: dict[str, Any]) -> tuple[ComponentRole, int]:
    """Read what a token is to admit, and for how long.

    Raises: Refused: the body says something else.
    """
    role, life = body.get("role"), body.get("lifeSeconds", NumberText(JOIN_TOKEN_LIFE_S))
    if not body.keys() <= {"role", "lifeSeconds"} or role not in tuple(ComponentRole):
        raise invalid(
            f'The body is {{"role": <one of {", ".join(ComponentRole)}>, "lifeSeconds": <seconds, '
            f"{JOIN_TOKEN_LIFE_S} if left out>}}."
        )
    if not (isinstance(life, NumberText) and life.isdecimal()) or not (
        1 <= int(life) <= JOIN_TOKEN_LIFE_S_MAX
    ):
        raise invalid(f"lifeSeconds is a whole number from 1 to {JOIN_TOKEN_LIFE_S_MAX}.")
    return ComponentRole(role), int(life)
