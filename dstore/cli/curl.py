"""The same request for curl: it can be pasted, logged and mailed, since no secret is in it."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final


def _as_it_is(body: bytes) -> bytes:
    return body


STDIN: Final = "-"  # as the name of a file


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyFile:
    """A body that stands in a file.

    Attributes:
        name: the file's name, `-` for stdin.
        encode: makes the request's body of the file's bytes.
        filter: the shell command that does the same, None if there is nothing to do.
        is_secret: whether a terminal asks for it without showing it.
    """

    name: str
    encode: Callable[[bytes], bytes] = _as_it_is
    filter: str | None = None
    is_secret: bool = False


def curl_line(
    method: str, url: str, headers: Mapping[str, str], *, body: bytes | BodyFile | None = None
) -> str:
    """Spell a request as a shell command, the token as $DSTORE_TOKEN."""
    words = ["curl", "-sS", "--fail-with-body"]
    if method != "GET":
        words += ["-X", method]
    words += ["-H", '"Authorization: Bearer $DSTORE_TOKEN"']
    for name, value in headers.items():
        words += ["-H", shlex.quote(f"{name}: {value}")]
    before = ""
    match body:
        case None:
            pass
        case bytes():
            words += ["--data-binary", shlex.quote(body.decode())]
        case BodyFile(name=name, filter=None):
            words += ["--data-binary", shlex.quote(f"@{name}")]
        case BodyFile(name=name, filter=command):
            before = f"{command}{'' if name == STDIN else ' ' + shlex.quote(name)} | "
            words += ["--data-binary", "@-"]
    return before + " ".join([*words, shlex.quote(url)])
