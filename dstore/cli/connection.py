"""Where the server is, and with which token to call it.

A flag counts before a variable, a variable before `client.env`, the file that `dstore serve` writes
into its data directory. A token never stands among the arguments, where every user of the machine
reads it. The token of a `client.env` goes to that server only: a URL from elsewhere needs its own
token, or `--data`, by which the user says that both belong together.
"""

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, NewType
from urllib.parse import urlsplit

from dstore.cli.curl import STDIN
from dstore.cli.failures import usage
from dstore.cli.options import Asked

Origin = NewType("Origin", tuple[str, str, int])

CLIENT_FILE: Final = "client.env"
DATA_DEFAULT: Final = Path("dstore-data")
_TOKEN_VARIABLE: Final = "DSTORE_TOKEN"  # noqa: S105 - a name
_TOKEN_CHARS_MAX: Final = 4_096  # far beyond our own 60: another issuer's may be long
_TOKEN: Final = re.compile(r"[!-~]+", re.ASCII)
_VARIABLE: Final = re.compile(r"(?:export\s+)?(\w+)=(.*)", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}


class Surface(StrEnum):
    """The APIs that the commands call; v1 and DynamoDB's share a port."""

    V1 = "v1"
    ADMIN = "admin"
    DYNAMODB = "DynamoDB"

    @property
    def variable(self) -> str:
        """The variable that holds the URL, in the environment and in client.env."""
        return "DSTORE_ADMIN_URL" if self is Surface.ADMIN else "DSTORE_URL"

    @property
    def flag(self) -> str:
        """The flag that gives the URL."""
        return "--admin-url" if self is Surface.ADMIN else "--url"

    @property
    def url_default(self) -> str:
        """Where a server with default settings listens."""
        port = 8002 if self is Surface.ADMIN else 8000
        return f"http://127.0.0.1:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A server to call.

    Attributes:
        url: scheme, host and port, and maybe a path before `/v1`; without a slash at its end.
        token: None if there is none, of which `missing` then says why and what to do.
    """

    surface: Surface
    url: str
    token: str | None = field(repr=False)
    token_source: str
    missing: str


def find(surface: Surface, asked: Asked, environment: Mapping[str, str]) -> Connection:
    """Find the server and the token.

    Raises: Failure(USAGE): a URL is none, a file can't be read, or a token can't be one.
    """
    from_file = client_file(asked, environment)
    url, is_ours = server_url(surface, asked, environment, from_file=from_file)
    token, source = _token(asked, environment, from_file)
    missing = (
        "There is no token: set DSTORE_TOKEN, or give --token-file FILE, or --data DIR where the "
        f"server's {CLIENT_FILE} is."
    )
    if token is not None and source == CLIENT_FILE and not is_ours:
        token = None
        missing = (
            f"The token in {CLIENT_FILE} belongs to another server than {url}: set DSTORE_TOKEN or "
            "give --token-file FILE, or --data DIR to send it all the same."
        )
    return Connection(surface=surface, url=url, token=token, token_source=source, missing=missing)


def server_url(
    surface: Surface,
    asked: Asked,
    environment: Mapping[str, str],
    *,
    from_file: Mapping[str, str],
) -> tuple[str, bool]:
    """Find the server.

    Args:
        surface: which API is called.
        asked: what the flags say.
        environment: the variables of the process.
        from_file: what `client_file` read.
    Returns: the URL, and whether that server may see the credentials of client.env.
    Raises: Failure(USAGE): the URL is none.
    """
    flag = asked.admin_url if surface is Surface.ADMIN else asked.url
    if flag is not None:
        url = checked_url(flag, f"The URL of {surface.flag}")
    elif variable := environment.get(surface.variable):
        url = checked_url(variable, f"The URL in {surface.variable}")
    else:
        found = from_file.get(surface.variable, surface.url_default)
        return checked_url(found, f"The URL in {CLIENT_FILE}"), True
    ours = {_origin(from_file.get(each.variable, each.url_default)) for each in Surface}
    return url, asked.data is not None or _origin(url) in ours


def checked_url(text: str, what: str) -> str:
    """Give back a URL that can be called, without a slash at its end.

    Raises: Failure(USAGE): it is no URL of a server; the sentence begins with `what`.
    """
    try:
        parts = urlsplit(text)
        is_plain = not (parts.query or parts.fragment or parts.username or parts.password)
        fits = parts.scheme in _PORTS and parts.hostname and parts.port != 0 and is_plain
    except ValueError:  # a port that is none, or half an IPv6 address
        fits = False
    if not fits or not text.isascii() or not text.isprintable() or " " in text:
        raise usage(f"{what} can't be called: write it as http://127.0.0.1:8000.")
    return text.rstrip("/")


def _origin(url: str) -> Origin:
    parts = urlsplit(url)
    return Origin((parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)))


def client_file(asked: Asked, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Read what the server wrote for its clients; nothing if there is no such file.

    Raises: Failure(USAGE): the file of an explicit --data can't be read.
    """
    given = environment.get("DSTORE_DATA")
    directory = asked.data or (Path(given).expanduser() if given else DATA_DEFAULT)
    path = directory / CLIENT_FILE
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        if asked.data is None:
            return {}
        raise usage(
            f"{directory} has no {CLIENT_FILE}: dstore serve --data {directory} writes it."
        ) from None
    except PermissionError:
        # Somebody else's server in this directory is not in the way of a URL and a token of one's
        # own; without these the command says what is missing.
        if asked.data is None:
            return {}
        raise usage(f"{path} can't be read: only the user who runs the server may.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise usage(f"{path} can't be read: {_reason(error)}.") from None
    return dict(_variables(text))


def _variables(text: str) -> list[tuple[str, str]]:
    """Read NAME=value lines as a shell would; comments and what is no assignment are left out."""
    found = []
    for line in text.splitlines():
        if match := _VARIABLE.fullmatch(line.strip()):
            try:
                words = shlex.split(match[2], comments=True)
            except ValueError:  # an open quote
                continue
            found.append((match[1], words[0] if words else ""))
    return found


def _token(
    asked: Asked, environment: Mapping[str, str], from_file: Mapping[str, str]
) -> tuple[str | None, str]:
    """Return the token, if there is one, and words for where it stood."""
    if asked.token_file is not None:
        source = "stdin" if asked.token_file == STDIN else asked.token_file
        return _checked_token(_first_line(asked.token_file), source), source
    if token := environment.get(_TOKEN_VARIABLE):
        return _checked_token(token, _TOKEN_VARIABLE), _TOKEN_VARIABLE
    if token := from_file.get(_TOKEN_VARIABLE):
        return _checked_token(token, CLIENT_FILE), CLIENT_FILE
    return None, ""


def _first_line(name: str) -> str:
    try:
        if name == STDIN:
            return sys.stdin.readline(_TOKEN_CHARS_MAX + 2).strip()
        with Path(name).open() as file:
            return file.readline(_TOKEN_CHARS_MAX + 2).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise usage(f"The token file {name} can't be read: {_reason(error)}.") from None


def _checked_token(text: str, source: str) -> str:
    if len(text) > _TOKEN_CHARS_MAX or not _TOKEN.fullmatch(text):
        raise usage(f"{source} holds no token: a token is one word, such as dst_…")
    return text


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "it failed") if isinstance(error, OSError) else "it is not UTF-8"


def require_token(connection: Connection) -> str:
    """Return the token.

    Raises: Failure(USAGE): there is none that may go to this server.
    """
    if connection.token is None:
        raise usage(connection.missing)
    return connection.token
