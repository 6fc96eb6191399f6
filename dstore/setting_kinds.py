"""How a setting's value is read: each kind takes what TOML, a variable or a flag may give.

A variable is text only; a flag and a TOML value may come typed. A kind returns the typed value or
raises `BadValue` with the rest of a sentence that began with where the value stands; the sentence
tells what is wanted and never repeats the value, which might be a misplaced secret.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dstore.base.limits import ADDRESS_CHARS_MAX, KIB, LOCATION_CHARS_MAX, MIB, ZONE_CHARS_MAX

Kind = Callable[[object], Any]

_WHOLE: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_DECIMAL: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_BYTES: Final = re.compile(r"([0-9]{1,18}) ?(KiB|MiB|GiB|TiB)?", re.ASCII)
_BYTES_UNIT: Final = {None: 1, "KiB": KIB, "MiB": MIB, "GiB": 1_024 * MIB, "TiB": MIB * MIB}
_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_LOCATION: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9-]{{0,{LOCATION_CHARS_MAX - 1}}}", re.ASCII)
_ZONE: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{ZONE_CHARS_MAX - 1}}}", re.ASCII)
# A host name, an IPv4 address or an IPv6 address in brackets, and a port.
_ADDRESS: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", re.ASCII
)
_PORT_MAX: Final = 65_535


class BadValue(Exception):
    """The value can't be used; the message ends a sentence: "must be ..."."""


def text(value: object) -> str:
    """Read a non-empty text without spaces around it or control characters in it."""
    if not isinstance(value, str) or not value or value != value.strip() or not value.isprintable():
        raise BadValue("must be a non-empty text.")
    return value


def location(value: object) -> str:
    """Read the name of a location, a part of every resource id."""
    if not isinstance(value, str) or not _LOCATION.fullmatch(value):
        raise BadValue(f"must be 1 to {LOCATION_CHARS_MAX} letters, digits and hyphens.")
    return value


def zone(value: object) -> str:
    """Read the name of a zone."""
    if not isinstance(value, str) or not _ZONE.fullmatch(value):
        raise BadValue(f"must be 1 to {ZONE_CHARS_MAX} letters, digits, dots, hyphens and _.")
    return value


def https_url(value: object) -> str:
    """Read where a component answers, https://HOST:PORT; a slash at the end is left out."""
    try:
        parts = urlsplit(text(value).removesuffix("/"))
        is_base = parts.scheme == "https" and not (parts.path or parts.query or parts.fragment)
        fits = is_base and _is_address(parts.netloc)
    except (BadValue, ValueError):
        fits = False
    if not fits:
        raise BadValue("must be a URL such as https://node-1.example:8001.")
    return str(value).removesuffix("/")


def addresses(value: object) -> tuple[str, ...]:
    """Read a list of host:port; in one text they are parted by commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise BadValue("must be a list of one host:port or more.")
    found = [part.strip() if isinstance(part, str) else "" for part in parts]
    if not all(map(_is_address, found)):
        raise BadValue("must be a list of host:port, such as etcd-1.example:2379.")
    return tuple(dict.fromkeys(found))


def _is_address(part: str) -> bool:
    match = _ADDRESS.fullmatch(part) if len(part) <= ADDRESS_CHARS_MAX else None
    return match is not None and 1 <= int(match[1]) <= _PORT_MAX


def command(value: object) -> tuple[str, ...]:
    """Read a command and its arguments; one text is parted as a shell would, and not by one."""
    try:
        parts = shlex.split(value) if isinstance(value, str) else value
    except ValueError:  # an open quote
        parts = None
    if not isinstance(parts, list | tuple) or not parts:
        raise BadValue("must be a command: a list of texts, the program first.")
    if not all(isinstance(part, str) and part.isprintable() for part in parts) or not parts[0]:
        raise BadValue("must be a command: a list of texts, the program first.")
    return tuple(parts)


def path(value: object) -> Path:
    """Read a path; a relative one starts where the process was started, `~` at home."""
    if isinstance(value, Path):
        return value
    try:
        return Path(text(value)).expanduser()
    except (BadValue, RuntimeError):
        raise BadValue("must be a path.") from None


def boolean(value: object) -> bool:
    """Read true or false; a variable may say 1 or 0 too."""
    match value:
        case bool():
            return value
        case "true" | "1":
            return True
        case "false" | "0":
            return False
        case _:
            raise BadValue("must be true or false.")


def words(value: object) -> tuple[str, ...]:
    """Read a list of lower-case words; in one text they are parted by commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise BadValue("must be a list of one word or more.")
    found = [part.strip() if isinstance(part, str) else "" for part in parts]
    if not all(_WORD.fullmatch(word) for word in found):
        raise BadValue("must be a list of lower-case words.")
    return tuple(dict.fromkeys(found))  # in the order given, each once


@dataclass(frozen=True, slots=True)
class Choice:
    """Read one of an enumeration's words."""

    options: type[StrEnum]

    def __call__(self, value: object) -> StrEnum:
        """Return the member that `value` spells."""
        for option in self.options:
            if value == option.value:
                return option
        raise BadValue(f"must be one of {', '.join(self.options)}.")


def whole(lowest: int, highest: int) -> Kind:
    """Make the kind of the whole numbers from `lowest` to `highest`."""

    def read(value: object) -> int:
        number = int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value
        if not isinstance(number, int) or isinstance(number, bool):
            raise BadValue(f"must be a whole number from {lowest} to {highest}.")
        if not lowest <= number <= highest:
            raise BadValue(f"must be a whole number from {lowest} to {highest}.")
        return number

    return read


def seconds(lowest: float, highest: float) -> Kind:
    """Make the kind of the durations from `lowest` to `highest` seconds, fractions allowed."""

    def read(value: object) -> float:
        number = float(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise BadValue(f"must be a number of seconds from {lowest:g} to {highest:g}.")
        if not lowest <= number <= highest:  # false for NaN too
            raise BadValue(f"must be a number of seconds from {lowest:g} to {highest:g}.")
        return float(number)

    return read


def bytes_count(lowest: int) -> Kind:
    """Make the kind of the sizes from `lowest` bytes: a number, or a text such as "64 MiB"."""

    def read(value: object) -> int:
        count = value
        if isinstance(value, str) and (match := _BYTES.fullmatch(value)):
            count = int(match[1]) * _BYTES_UNIT[match[2]]
        if not isinstance(count, int) or isinstance(count, bool) or not lowest <= count < 2**63:
            raise BadValue(f"must be a number of bytes, {lowest} or more, such as 64MiB.")
        return count

    return read
