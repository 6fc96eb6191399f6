"""Structured logs on stderr: one snake_case event per fact, its fields named with their units.

JSON lines when stderr is no terminal, coloured text when it is. `bind_request_id` puts the id of a
request into every event of its task. Every event passes `dstore/base/redaction.py`. An event below
the level costs a method call that returns None.

An exception is logged as its types and where it passed, never as its message, since messages quote
what they complain about.
"""

import errno
import logging
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from dstore.base.clock import US_PER_S, Clock, SystemClock
from dstore.base.redaction import redact

Fields = MutableMapping[str, Any]

_FRAMES_MAX: Final = 12  # of one traceback: the innermost ones
_CAUSES_MAX: Final = 4  # of one chain of exceptions


class LogLevel(StrEnum):
    """The least severe event that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a line looks: `AUTO` is console on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class Logger:
    """A module's logger; each method takes an event's name and its fields.

    `exc_info=error` (or True, for the one being handled) adds the error. The methods are attributes
    bound at configuration: below the level each is structlog's method that does nothing, found
    without the 4 us of structlog's lazy proxy.
    """

    __slots__ = ("_name", "debug", "error", "info", "warning")

    def __init__(self, name: str) -> None:
        """Name the module whose events these are; get one from `get_logger`."""
        self._name = name
        self.rebind()

    def rebind(self) -> None:
        """Take over the configuration in force."""
        bound: FilteringBoundLogger = structlog.get_logger(source=self._name).bind()
        self.debug: Callable[..., Any] = bound.debug
        self.info: Callable[..., Any] = bound.info
        self.warning: Callable[..., Any] = bound.warning
        self.error: Callable[..., Any] = bound.error


_request_id: Final[ContextVar[str | None]] = ContextVar("request_id")

# One list for good: a test captures events by changing it under the loggers that share it.
_processors: Final[list[Processor]] = []
_loggers: Final[dict[str, Logger]] = {}  # one a module; rebound by every `configure`


def configure(
    *, level: LogLevel = LogLevel.INFO, form: LogFormat = LogFormat.AUTO, clock: Clock | None = None
) -> None:
    """Set up the logs of this process, those of libraries included; may be called again."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    is_console = form is LogFormat.CONSOLE or (form is LogFormat.AUTO and sys.stderr.isatty())
    _processors[:] = [
        _with_request_id,
        structlog.processors.add_log_level,
        _stamped(clock or SystemClock()),
        _with_error,
        _redacted,
        _console() if is_console else _json,
    ]
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_Stderr,
        cache_logger_on_first_use=False,  # `Logger` keeps what it needs
    )
    for logger in _loggers.values():
        logger.rebind()
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    # A library's chatter is worth a line only from warnings on.
    root.setLevel(max(threshold, logging.WARNING))


def get_logger(name: str) -> Logger:
    """Return the logger of a module; call it with `__name__`, once, at module level."""
    if name not in _loggers:
        _loggers[name] = Logger(name)
    return _loggers[name]


def bind_request_id(request_id: str | None) -> None:
    """Bind the request's id to every event of the running task and of tasks begun there; 0.2 us.

    None: what comes belongs to no request.
    """
    _request_id.set(request_id)


class _Stderr:
    """Write finished lines to whatever stderr is now; a closed stderr stops no request."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: bytes) -> None:
        try:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
        except (OSError, ValueError):
            return  # nobody reads: the log has no other place to say so

    debug = info = warning = error = critical = msg


class _Bridge(logging.Handler):
    """Turn a library's log record into one of our events, its traceback into frames."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().partition("\n")[0]
        error = record.exc_info[1] if record.exc_info else None
        write = _library_log.error if record.levelno >= logging.ERROR else _library_log.warning
        write("library_log", library=record.name, message=message, exc_info=error)


def _stamped(clock: Clock) -> Callable[[Any, str, Fields], Fields]:
    def stamp(_logger: Any, _method: str, fields: Fields) -> Fields:
        moment = datetime.fromtimestamp(clock.wall_us() / US_PER_S, UTC)
        fields["at"] = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        return fields

    return stamp


def _with_request_id(_logger: Any, _method: str, fields: Fields) -> Fields:
    request_id = _request_id.get(None)
    if request_id is not None:
        fields.setdefault("request_id", request_id)
    return fields


def _with_error(_logger: Any, _method: str, fields: Fields) -> Fields:
    """Replace `exc_info` by the names of the errors in its chain and the frames of the first."""
    given = fields.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is None:
        return fields
    names: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(names) < _CAUSES_MAX:
        names.append(_error_name(cause))
        cause = cause.__cause__ or cause.__context__
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    fields["error"] = " < ".join(names)
    fields["frames"] = [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]
    return fields


def _error_name(error: BaseException) -> str:
    name = type(error).__qualname__
    if isinstance(error, OSError) and error.errno is not None:
        return f"{name}({errno.errorcode.get(error.errno, error.errno)})"
    return name


def _short(filename: str) -> str:
    """Cut a source file's path to its last three parts."""
    return "/".join(filename.split("/")[-3:])


def _redacted(_logger: Any, _method: str, fields: Fields) -> Fields:
    return redact(fields)


def _json(_logger: Any, _method: str, fields: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(fields) + b"\n"


def _console() -> Callable[[Any, str, Fields], bytes]:
    render = structlog.dev.ConsoleRenderer(timestamp_key="at", colors=sys.stderr.isatty())

    def line(logger: Any, method: str, fields: Fields) -> bytes:
        return render(logger, method, fields).encode() + b"\n"

    return line


_library_log: Final = get_logger("library")

# Until the process says otherwise: no event, not even one at import time, goes out unredacted.
configure()
