"""/v1/tenant/{tenant}/table/{table}/id/{id}: create, read, update, delete, list.

The hot path of v1. Reads are strong by default; with `consistency=eventual` any replica answers,
which on a stand-alone node is the same.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec
from aiohttp import hdrs

from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.json_body import decode_object
from dstore.api.v1.exchange import JSON, MERGE_PATCH, RID, Exchange
from dstore.api.v1.pages import PARAMETERS, after_of, after_text, limit_of
from dstore.base.limits import INLINE_JSON_BYTES_MAX
from dstore.base.threads import in_thread, in_thread_if
from dstore.model.errors import RefusalKind, Refused, invalid
from dstore.model.refusal_texts import NO_SUCH_ENTRY
from dstore.model.rid import entry_rid, table_rid
from dstore.model.values import item_from_plain
from dstore.service import entry_writes
from dstore.service.deferred_store import DeferredWrite, Verb
from dstore.service.entry_audit import EntryWrites
from dstore.service.preconditions import (
    NO_PRECONDITIONS,
    Preconditions,
    check,
    is_matched,
    read_preconditions,
)
from dstore.service.read_answers import PLAIN_ENTRY, Form, ReadAsk

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.service.items import EntryKey
    from dstore.service.mutations import EntryMutation
    from dstore.service.use_cases import UseCases
    from dstore.service.write_answers import Written

CONSISTENCY: Final = "consistency"
_encode = msgspec.json.Encoder().encode


class EntryHandlers:
    """The operations on a table's entries."""

    def __init__(self, cases: UseCases) -> None:
        """Serve the entries of `cases`."""
        self._cases = cases

    async def read(self, request: web.Request) -> Answer:
        """Answer exactly the stored object; 304 if the client has it, 412 if it wants another."""
        exchange = await Exchange.receive(request, self._cases, allowed=(CONSISTENCY,))
        is_eventual = _is_eventual(exchange)
        key = self._locate(exchange)
        wanted = _preconditions(exchange)
        has = wanted.none_match
        ask = PLAIN_ENTRY if has is None else ReadAsk(form=Form.PLAIN, unless=has)
        found = await self._cases.items.read(key, ask, is_eventual=is_eventual)
        if found is None:
            raise Refused(RefusalKind.NOT_FOUND, NO_SUCH_ENTRY)
        headers = {hdrs.ETAG: f'"{found.version}"', RID: self._rid(exchange)}
        if wanted is not NO_PRECONDITIONS:
            if wanted.match is not None:
                check(Preconditions(match=wanted.match), found.version)
            if has is not None and is_matched(has, found.version):
                return Answer(status=304, headers=headers)
        return Answer(bytes(found.body), headers=headers)

    async def list(self, request: web.Request) -> Answer:
        """List entries in the order of their keys' hashes."""
        allowed = (*PARAMETERS, CONSISTENCY)
        exchange = await Exchange.receive(request, self._cases, allowed=allowed)
        is_eventual = _is_eventual(exchange)
        tenant, table = exchange.value("tenant"), exchange.value("table")
        listing = await self._cases.items.list(
            tenant,
            table,
            after=after_of(exchange),
            limit=limit_of(exchange),
            is_eventual=is_eventual,
        )
        rid = table_rid(tenant, table, location=self._cases.directory.location)
        after = None if listing.last is None else after_text(listing.last)
        body = {"entries": listing.entries, "after": after}
        is_heavy = listing.size_bytes > INLINE_JSON_BYTES_MAX
        return Answer(await in_thread_if(is_heavy, partial(_encode, body)), headers={RID: str(rid)})

    async def create(self, request: web.Request) -> Answer:
        """Store a new entry: 201, or 409 if there is one."""
        exchange = await Exchange.receive(request, self._cases)
        exchange.media_type(JSON)
        return await self._write(exchange, Verb.CREATE)

    async def update(self, request: web.Request) -> Answer:
        """Replace an entry, or merge into it if the body is a merge patch."""
        exchange = await Exchange.receive(request, self._cases)
        is_patch = exchange.media_type(JSON, MERGE_PATCH) == MERGE_PATCH
        return await self._write(exchange, Verb.MERGE if is_patch else Verb.REPLACE)

    async def delete(self, request: web.Request) -> Answer:
        """Delete an entry: 204, or 404 if there is none."""
        exchange = await Exchange.receive(request, self._cases)
        if exchange.body:
            raise invalid("A DELETE has no body; send none.")
        return await self._write(exchange, Verb.DELETE)

    async def _write(self, exchange: Exchange, verb: Verb) -> Answer:
        key = self._locate(exchange)
        preconditions = _preconditions(exchange)
        plan = partial(plan_body, verb, exchange.body, key=key, preconditions=preconditions)
        mutation = await in_thread(plan) if exchange.is_large else plan()
        if _wants_async(exchange):
            return await self._defer(exchange, verb, key=key, preconditions=preconditions)
        done = await self._cases.items.write(
            key, mutation, request=exchange.request_name(), body_bytes=len(exchange.body)
        )
        self._audit(exchange, verb)
        return self._written(exchange, verb, done)

    async def _defer(
        self, exchange: Exchange, verb: Verb, *, key: EntryKey, preconditions: Preconditions
    ) -> Answer:
        """Accept a write that is well-formed; whether its conditions hold shows when it runs."""
        tenant = exchange.value("tenant")
        request_id = await self._cases.deferred.accept(
            DeferredWrite(
                tenant=tenant,
                table=exchange.value("table"),
                table_id=key.table.definition.table_id,
                id=exchange.value("id"),
                verb=verb,
                body=exchange.body,
                preconditions=preconditions,
                request=exchange.request_name(),
            )
        )
        self._audit(exchange, verb)
        return json_answer(
            {"requestId": request_id, "state": "queued", "rid": self._rid(exchange)},
            status=202,
            headers={
                "Preference-Applied": "respond-async",
                hdrs.LOCATION: f"/v1/tenant/{tenant}/request/{request_id}",
                RID: self._rid(exchange),
            },
        )

    def _audit(self, exchange: Exchange, verb: Verb) -> None:
        principal = exchange.principal
        if principal.is_operator:
            self._cases.entry_audit.note(
                EntryWrites(
                    principal_id=principal.credential,
                    tenant=exchange.value("tenant"),
                    table=exchange.value("table"),
                    operation=verb,
                )
            )

    def _written(self, exchange: Exchange, verb: Verb, done: Written) -> Answer:
        rid = self._rid(exchange)
        headers = {RID: rid}
        if done.version is not None:
            headers[hdrs.ETAG] = f'"{done.version}"'
        if verb is Verb.DELETE:
            return Answer(status=204, headers=headers)
        if verb is Verb.CREATE:
            headers[hdrs.LOCATION] = self._location(exchange)
        status = 201 if verb is Verb.CREATE else 200
        return json_answer({"rid": rid, "id": exchange.value("id")}, status=status, headers=headers)

    def _locate(self, exchange: Exchange) -> EntryKey:
        return self._cases.items.locate(
            exchange.value("tenant"), exchange.value("table"), exchange.value("id")
        )

    def _location(self, exchange: Exchange) -> str:
        """Spell the entry's path, without what else the request's target had."""
        tenant, table, entry_id = (exchange.value(name) for name in ("tenant", "table", "id"))
        return f"/v1/tenant/{tenant}/table/{table}/id/{quote(entry_id, safe='')}"

    def _rid(self, exchange: Exchange) -> str:
        return str(
            entry_rid(
                exchange.value("tenant"),
                exchange.value("table"),
                exchange.value("id"),
                location=self._cases.directory.location,
            )
        )


def plan_body(
    verb: Verb, body: bytes, *, key: EntryKey, preconditions: Preconditions
) -> EntryMutation:
    """Build the write that a body asks for. Raises: Refused: the body is no entry."""
    if verb is Verb.DELETE:
        return entry_writes.delete(preconditions=preconditions)
    entry = decode_object(body, what="entry")
    key_name = key.table.definition.partition.name
    if key_name in entry:
        raise invalid(f"{key_name} is the entry's ID and stands in the URL, not in the body.")
    match verb:
        case Verb.CREATE:
            return entry_writes.create(item_from_plain(entry), key=key, preconditions=preconditions)
        case Verb.REPLACE:
            return entry_writes.replace(
                item_from_plain(entry), key=key, preconditions=preconditions
            )
        case Verb.MERGE:
            return entry_writes.merge(entry, key=key, preconditions=preconditions)


def plan_deferred(write: DeferredWrite, key: EntryKey) -> EntryMutation:
    """Build the write that was accepted earlier."""
    return plan_body(write.verb, write.body, key=key, preconditions=write.preconditions)


def _preconditions(exchange: Exchange) -> Preconditions:
    return read_preconditions(exchange.header(hdrs.IF_MATCH), exchange.header(hdrs.IF_NONE_MATCH))


def _wants_async(exchange: Exchange) -> bool:
    """Read `Prefer` (RFC 7240): preferences that are not known are ignored, as it wants."""
    preferences = exchange.header("Prefer")
    if preferences is None:
        return False
    names = (part.partition(";")[0].strip().lower() for part in preferences.split(","))
    return "respond-async" in names


def _is_eventual(exchange: Exchange) -> bool:
    """Read which consistency is asked for. Raises: Refused: neither strong nor eventual."""
    if "?" not in exchange.request.raw_path:
        return False
    asked = exchange.request.query.get(CONSISTENCY, "strong")
    if asked not in {"strong", "eventual"}:
        raise invalid(f"{CONSISTENCY} must be strong or eventual.")
    return asked == "eventual"
