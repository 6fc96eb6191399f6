"""Which control planes a component belongs to, on its disk: a list from the start.

    <directory>/enrolments/<control plane's UUID>/enrolment.json   who it is there, where control is
                                                  peer.pem         its key and certificate (0600)
                                                  peer.ca          the authorities that it trusts
                                                  joining.pem      while it joins: the key, nothing
                                                                   else yet (0600)

`enrolment.json` is written last: a plane without it is not joined yet, and its `joining.pem` lets
the same public key ask again. Keys that control gives are never here (I4). All functions wait for
the disk; call them in a thread once anything is served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from dstore.base.limits import CONTROLS_MAX, ENROLMENTS_MAX, URI_CHARS_MAX
from dstore.base.private_files import read_private, write_private
from dstore.model.errors import Corrupt, RefusalKind, Refused
from dstore.security.identity import UUID_FORM, ComponentRole, Identity

if TYPE_CHECKING:
    from pathlib import Path

ENROLMENTS_DIRECTORY: Final = "enrolments"
ENROLMENT_FILE: Final = "enrolment.json"
FORMAT: Final = 1
_FILE_BYTES_MAX: Final = 256 * 1_024

_Uuid = Annotated[str, msgspec.Meta(pattern=rf"^{UUID_FORM}\Z")]
_Address = Annotated[str, msgspec.Meta(min_length=3, max_length=URI_CHARS_MAX)]


class _Stored(msgspec.Struct, frozen=True, rename="camel"):
    format: int
    control_plane: _Uuid
    role: ComponentRole
    component: _Uuid
    controls: Annotated[tuple[_Address, ...], msgspec.Meta(min_length=1, max_length=CONTROLS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """A component's place in one control plane.

    Attributes:
        directory: of this enrolment's files, for `security.tls.TlsContexts`.
        control_plane: its UUID.
        role: what this component is there.
        component: its UUID there, chosen by control; it stands in its certificate and in etcd.
            (A node's UUID in `node.key` is another one, and its own.)
        controls: peer listeners of controls, `https://host:port`, 1 to CONTROLS_MAX, as last known.
    """

    directory: Path
    control_plane: str
    role: ComponentRole
    component: str
    controls: tuple[str, ...]

    @property
    def identity(self) -> Identity:
        """As whom this component calls and answers in the plane."""
        return Identity(control_plane=self.control_plane, role=self.role, uuid=self.component)


def directory_of(directory: Path, control_plane: str) -> Path:
    """Where a control plane's files are, below a component's data directory."""
    return directory / ENROLMENTS_DIRECTORY / control_plane


def load_enrolments(directory: Path) -> tuple[Enrolment, ...]:
    """Read which control planes a component has joined, by their UUIDs; none if it stands alone.

    Args:
        directory: the component's data directory.
    Raises: Corrupt: a file is damaged. PermissionError: others can read it. OSError.
    """
    parent = directory / ENROLMENTS_DIRECTORY
    if not parent.is_dir():
        return ()
    places = sorted(place for place in parent.iterdir() if (place / ENROLMENT_FILE).exists())
    return tuple(_load(place) for place in places)


def store_enrolment(enrolment: Enrolment) -> None:
    """Write an enrolment, durably; from here on the component has joined.

    Raises: Refused(CONFLICT): ENROLMENTS_MAX planes already. OSError.
    """
    place = enrolment.directory
    if not (place / ENROLMENT_FILE).exists():
        others = [each for each in place.parent.iterdir() if (each / ENROLMENT_FILE).exists()]
        if len(others) >= ENROLMENTS_MAX:
            raise Refused(
                RefusalKind.CONFLICT,
                f"A component belongs to at most {ENROLMENTS_MAX} control planes.",
            )
    stored = _Stored(
        format=FORMAT,
        control_plane=enrolment.control_plane,
        role=enrolment.role,
        component=enrolment.component,
        controls=enrolment.controls,
    )
    write_private(place / ENROLMENT_FILE, msgspec.json.encode(stored))


def _load(place: Path) -> Enrolment:
    try:
        content = read_private(place / ENROLMENT_FILE, bytes_max=_FILE_BYTES_MAX)
        stored = msgspec.json.decode(content, type=_Stored)
    except (msgspec.DecodeError, ValueError):
        raise _damaged(place) from None
    if stored.format != FORMAT or stored.control_plane != place.name:
        raise _damaged(place)
    return Enrolment(
        directory=place,
        control_plane=stored.control_plane,
        role=stored.role,
        component=stored.component,
        controls=stored.controls,
    )


def _damaged(place: Path) -> Corrupt:
    name = f"{ENROLMENTS_DIRECTORY}/{place.name}/{ENROLMENT_FILE}"
    return Corrupt(f"{name} is damaged; restore it, or join again.", file=name, where="content")
