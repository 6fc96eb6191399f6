"""Enrolments on the disk: a list, private, and refused when damaged."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from dstore.base.limits import ENROLMENTS_MAX
from dstore.model.errors import Corrupt, Refused
from dstore.security.identity import ComponentRole
from dstore.service.enrolment.records import (
    ENROLMENT_FILE,
    Enrolment,
    directory_of,
    load_enrolments,
    store_enrolment,
)
from tests.support.peers import ENTROPY


def enrolment(directory: Path) -> Enrolment:
    plane = ENTROPY.uuid()
    place = directory_of(directory, plane)
    place.mkdir(parents=True, exist_ok=True)
    return Enrolment(
        directory=place,
        control_plane=plane,
        role=ComponentRole.NODE,
        component=ENTROPY.uuid(),
        controls=("https://127.0.0.1:8001", "https://[::1]:8001"),
    )


def test_what_is_stored_is_loaded(tmp_path: Path) -> None:
    """A component may belong to several planes; a join that was cut short is none yet."""
    assert load_enrolments(tmp_path) == ()
    made = [enrolment(tmp_path) for _ in range(2)]
    for one in made:
        store_enrolment(one)
    enrolment(tmp_path)
    assert load_enrolments(tmp_path) == tuple(sorted(made, key=lambda one: one.control_plane))
    file = made[0].directory / ENROLMENT_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    moved = replace(made[0], controls=("https://127.0.0.1:9001",))
    store_enrolment(moved)
    assert moved in load_enrolments(tmp_path)
    assert (moved.identity.uuid, moved.identity.control_plane) == (
        moved.component,
        moved.control_plane,
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"format":1}', b"\xff", b"[" * 10_000, b"x" * 300_000],
    ids=["empty", "no members", "format only", "no text", "deep", "long"],
)
def test_a_damaged_file_is_said(tmp_path: Path, content: bytes) -> None:
    """Never taken for a component that has not joined: it would ask for another identity."""
    made = enrolment(tmp_path)
    store_enrolment(made)
    (made.directory / ENROLMENT_FILE).write_bytes(content)
    with pytest.raises(Corrupt, match="is damaged; restore it, or join again"):
        load_enrolments(tmp_path)


def test_an_enrolment_of_another_plane_is_refused(tmp_path: Path) -> None:
    """A directory that was copied to another name is not that plane's."""
    made = enrolment(tmp_path)
    store_enrolment(made)
    made.directory.rename(made.directory.with_name(ENTROPY.uuid()))
    with pytest.raises(Corrupt):
        load_enrolments(tmp_path)


def test_what_others_can_read_is_refused(tmp_path: Path) -> None:
    """The operator hears of it before anything is served."""
    made = enrolment(tmp_path)
    store_enrolment(made)
    (made.directory / ENROLMENT_FILE).chmod(0o644)
    with pytest.raises(PermissionError):
        load_enrolments(tmp_path)


def test_the_list_is_bounded(tmp_path: Path) -> None:
    """As `node.wraps` is."""
    for _ in range(ENROLMENTS_MAX):
        store_enrolment(enrolment(tmp_path))
    with pytest.raises(Refused, match=f"at most {ENROLMENTS_MAX}"):
        store_enrolment(enrolment(tmp_path))
