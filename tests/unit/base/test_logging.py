"""Events, not texts: what a log line holds and what it costs nothing to leave out."""

import asyncio
import errno
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from dstore.base.logging import LogFormat, LogLevel, bind_request_id, configure, get_logger


class _FrozenClock:
    """Stand at one moment."""

    def wall_us(self) -> int:
        return 1_000_000

    def monotonic_ns(self) -> int:
        return 0


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Read the JSON lines that stderr got."""
    configure(form=LogFormat.JSON, clock=_FrozenClock())
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_event_is_one_json_line_with_its_fields(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    """Programs read the log, so that its shape is a promise."""
    get_logger("a.b").info("file_opened", took_ms=3)
    assert lines() == [
        {
            "source": "a.b",
            "event": "file_opened",
            "level": "info",
            "at": "1970-01-01T00:00:01.000000Z",
            "took_ms": 3,
        }
    ]


def test_event_below_the_level_is_not_written(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Debug events on the hot path stay silent unless asked for."""
    get_logger("a").debug("seen")
    configure(level=LogLevel.ERROR, form=LogFormat.JSON)
    get_logger("a").warning("seen")
    assert lines() == []


def test_logger_made_earlier_follows_a_later_configuration(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    """Modules make their loggers when imported, before the settings are read."""
    log = get_logger("early")
    configure(level=LogLevel.DEBUG, form=LogFormat.JSON)
    log.debug("seen")
    assert [line["event"] for line in lines()] == ["seen"]


async def test_the_requests_id_stands_in_every_event_of_its_task(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    """One request id follows a request through all layers, and into no other request."""
    log = get_logger("a")

    async def request(request_id: str) -> None:
        bind_request_id(request_id)
        await asyncio.sleep(0)
        log.info("inside")

    async with asyncio.TaskGroup() as group:
        group.create_task(request("r1"))
        group.create_task(request("r2"))
    log.info("outside")
    assert [line.get("request_id") for line in lines()] == ["r1", "r2", None]


def test_secrets_never_reach_stderr_in_any_format(capsys: pytest.CaptureFixture[str]) -> None:
    """The redaction stands in front of both renderers."""
    for form in (LogFormat.JSON, LogFormat.CONSOLE):
        configure(form=form)
        get_logger("a").error("refused", token="canary", note="Bearer canary\nforged line")
    told = capsys.readouterr().err
    assert "canary" not in told
    assert len(told.splitlines()) == 2


def test_error_is_told_by_its_types_and_frames_only(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    """The message of an exception quotes what it complains about."""
    try:
        try:
            int("canary")
        except ValueError as cause:
            raise OSError(errno.ENOSPC, "canary") from cause
    except OSError:
        get_logger("a").error("write_failed", exc_info=True)
    (line,) = lines()
    assert line["error"] == "OSError(ENOSPC) < ValueError"
    assert line["frames"][0].startswith("unit/base/test_logging.py:")
    assert "canary" not in json.dumps(line)


def test_library_records_become_redacted_events(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    """The server library logs tracebacks of what clients send it."""
    try:
        raise ValueError("canary")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request\nBearer canary")
    logging.getLogger("aiohttp.access").info("chatter")
    (line,) = lines()
    assert (line["event"], line["library"]) == ("library_log", "aiohttp.server")
    assert (line["message"], line["error"]) == ("Error handling request", "ValueError")
    assert "canary" not in json.dumps(line)


def test_closed_stderr_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log reader that goes away must not take the server along."""

    class _Closed:
        @property
        def buffer(self) -> None:
            raise ValueError("I/O operation on closed file")

        def isatty(self) -> bool:
            return False

    configure()
    monkeypatch.setattr("sys.stderr", _Closed())
    get_logger("a").info("unheard")


def test_events_can_be_captured_by_tests() -> None:
    """Tests assert on events, never on text, of loggers that modules made when imported."""
    log = get_logger("captured")
    with capture_logs() as events:
        log.warning("seen", count=1)
    assert [(event["event"], event["count"]) for event in events] == [("seen", 1)]
