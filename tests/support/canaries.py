"""Texts that stand for secrets, and the forms in which they could lie in a file."""

from __future__ import annotations

from base64 import b64encode
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_GROUP: Final = 3  # bytes that become four characters of base64
_CHARS_MIN: Final = 8  # a shorter text may be in a file by chance


def forms(canary: str) -> dict[str, bytes]:
    """Spell a text as it might be stored: raw, UTF-16, hex, base64 at each alignment."""
    assert len(canary) >= _CHARS_MIN, canary
    raw = canary.encode()
    spelled = {
        "raw": raw,
        "UTF-16 LE": canary.encode("utf-16-le"),
        "UTF-16 BE": canary.encode("utf-16-be"),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "reversed": raw[::-1],
    }
    for shift in range(_GROUP):
        # Only whole groups that hold nothing but the canary are the same in every surrounding.
        skipped = -shift % _GROUP
        whole = raw[skipped : skipped + (len(raw) - skipped) // _GROUP * _GROUP]
        spelled[f"base64 {shift}"] = b64encode(whole)
        spelled[f"base64url {shift}"] = b64encode(whole, altchars=b"-_")
    return spelled


def found(files: Iterable[Path], canaries: Iterable[str]) -> list[str]:
    """Search files for every form of every canary. Returns: where which one was found."""
    wanted = [(canary, form, text) for canary in canaries for form, text in forms(canary).items()]
    return [
        f"{file}: {canary} ({form})"
        for file in files
        for content in [file.read_bytes()]
        for canary, form, text in wanted
        if text in content
    ]


def traced_opens(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Read strace's lines. Returns: path and flags of each file opened, or tried; other calls too.

    A call without flags (rename, unlink, …) has its name for them; each path of it is listed.
    """
    opened: list[tuple[str, str]] = []
    for line in lines:
        call, parenthesis, rest = line.partition("(")
        name = call.split()[-1] if call.split() else ""
        if not parenthesis or not name.isidentifier():
            continue
        quoted = rest.split('"')
        paths = quoted[1::2]
        if name in {"open", "openat", "openat2"}:
            opened += [(path, after.strip(", ").split(")")[0]) for path, after in _paired(quoted)]
        else:
            opened += [(path, name) for path in paths]
    return opened


def _paired(quoted: list[str]) -> list[tuple[str, str]]:
    """Pair each quoted text with what follows it."""
    return list(pairwise(quoted))[1::2]
