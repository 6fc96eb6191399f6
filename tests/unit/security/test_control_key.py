"""Control's own key: where it comes from, and what it seals for whom."""

from __future__ import annotations

import sys
from base64 import b64encode
from itertools import product
from pathlib import Path
from time import monotonic, sleep

import pytest

from dstore.model.errors import Corrupt, Unavailable, UnavailableKind
from dstore.security import control_key
from dstore.security.control_key import ControlKey, Sealed, from_command, load_or_create
from dstore.security.envelope import WrongKey
from dstore.security.keys import Key256, new_key
from tests.unit.security.builders import SeededEntropy

ENTROPY = SeededEntropy(15)
KEY = ControlKey(key=new_key(ENTROPY))
SHARE = new_key(ENTROPY)
NODE, OTHER = ENTROPY.uuid(), ENTROPY.uuid()


def printing(text: str) -> list[str]:
    return [sys.executable, "-S", "-c", f"print({text!r}, end='')"]


def test_a_sealed_key_opens_for_its_record_alone() -> None:
    """Moved to another row, or taken for another kind, it does not open."""
    sealed = KEY.seal_key(SHARE, what=Sealed.NODE, record_id=NODE, entropy=ENTROPY)
    assert bytes(SHARE) not in sealed
    assert KEY.open_key(sealed, what=Sealed.NODE, record_id=NODE) == SHARE
    for what, record_id in product(Sealed, (NODE, OTHER)):
        if (what, record_id) != (Sealed.NODE, NODE):
            with pytest.raises(WrongKey):
                KEY.open(sealed, what=what, record_id=record_id)


def test_another_key_or_damage_opens_nothing() -> None:
    """Control's store alone gives nothing away (I4), and a flipped bit is never an answer."""
    sealed = KEY.seal(b"secret", what=Sealed.ACCESS_KEY, record_id="AKID", entropy=ENTROPY)
    other = ControlKey(key=new_key(ENTROPY))
    with pytest.raises(WrongKey):
        other.open(sealed, what=Sealed.ACCESS_KEY, record_id="AKID")
    for at in range(len(sealed)):
        flipped = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(WrongKey):
            KEY.open(flipped, what=Sealed.ACCESS_KEY, record_id="AKID")
    assert KEY.check_value() != other.check_value()
    assert KEY.check_value() == ControlKey(key=KEY.key).check_value()


def test_a_value_that_is_no_key_is_not_taken_for_one() -> None:
    """A short share would be a weak one."""
    sealed = KEY.seal(b"short", what=Sealed.NODE, record_id=NODE, entropy=ENTROPY)
    with pytest.raises(Corrupt):
        KEY.open_key(sealed, what=Sealed.NODE, record_id=NODE)


def test_the_words_of_the_seal_are_pinned() -> None:
    """Renaming one would make a store unreadable."""
    assert {one.value for one in Sealed} == {
        "authority",
        "control-plane",
        "node",
        "proxy",
        "tenant",
        "access-key",
    }


def test_a_file_is_made_once_and_private(tmp_path: Path) -> None:
    """A new control plane draws its key; every later start finds the same."""
    path = tmp_path / "control.key"
    made = load_or_create(path, may_create=True, entropy=ENTROPY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create(path, may_create=True, entropy=ENTROPY) == made
    assert load_or_create(path, may_create=False, entropy=ENTROPY) == made


def test_a_missing_key_is_never_replaced_beside_a_store(tmp_path: Path) -> None:
    """A fresh key would open nothing and hide that the old one is needed."""
    path = tmp_path / "control.key"
    with pytest.raises(Unavailable, match="missing; restore it") as caught:
        load_or_create(path, may_create=False, entropy=ENTROPY)
    assert caught.value.kind is UnavailableKind.LOCKED
    assert not path.exists()


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """What others may have read is no secret."""
    path = tmp_path / "control.key"
    load_or_create(path, may_create=True, entropy=ENTROPY)
    path.chmod(0o644)
    with pytest.raises(Unavailable, match="mode 0644"):
        load_or_create(path, may_create=False, entropy=ENTROPY)


@pytest.mark.parametrize(
    "text", [KEY.key.hex(), KEY.key.hex().upper(), b64encode(KEY.key).decode()]
)
def test_both_spellings_are_read(tmp_path: Path, text: str) -> None:
    """Tools print hexadecimal or base64, with a line's end or without."""
    assert ControlKey.of_text(f" {text}\r\n".encode(), source="here") == KEY
    path = tmp_path / "control.key"
    path.touch(mode=0o600)
    path.write_text(text)
    assert load_or_create(path, may_create=False, entropy=ENTROPY) == KEY


@pytest.mark.parametrize(
    "text",
    ["", "canary", "00" * 32, "ab" * 31, b64encode(bytes(32)).decode(), "é" * 64, "ab" * 400],
)
def test_what_is_no_key_is_refused_unquoted(tmp_path: Path, text: str) -> None:
    """A wrong file may hold somebody else's secret."""
    path = tmp_path / "control.key"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(Unavailable) as caught:
        load_or_create(path, may_create=False, entropy=ENTROPY)
    assert not text or text not in caught.value.message


def test_a_command_prints_the_key() -> None:
    """A KMS's client keeps the key off every disk."""
    assert from_command(printing(KEY.key.hex() + "\n")) == KEY


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([], "is empty"),
        (["/nonexistent/kms"], "did not start: No such file"),
        (["kms\0"], "null character"),
        ([sys.executable, "-S", "-c", "raise SystemExit(3)"], "failed with status 3"),
        (printing("canary"), "holds no key"),
        (printing(KEY.key.hex() * 100), "holds no key"),
    ],
)
def test_a_command_that_fails_is_named_and_not_quoted(command: list[str], said: str) -> None:
    """The operator learns what to mend; what was printed stays unseen."""
    with pytest.raises(Unavailable, match=said) as caught:
        from_command(command)
    assert caught.value.kind is UnavailableKind.LOCKED
    assert "canary" not in caught.value.message


def test_no_shell_reads_the_command() -> None:
    """An argument is an argument, whatever characters it has."""
    text = KEY.key.hex()
    program = "import sys; print(sys.argv[1] == '$(id); *' and sys.argv[2])"
    assert from_command([sys.executable, "-S", "-c", program, "$(id); *", text]) == KEY


@pytest.mark.parametrize(
    "program",
    [
        "import time; time.sleep(60)",
        "import sys\nwhile True: sys.stdout.write('00' * 5000)",
    ],
)
def test_a_command_without_end_is_ended(program: str) -> None:
    """A hanging or flooding command costs its time and no more."""
    began = monotonic()
    with pytest.raises(Unavailable, match="did not end within"):
        from_command([sys.executable, "-S", "-c", program], timeout_s=0.5)
    assert monotonic() - began < 20


def test_what_a_command_leaves_running_holds_nothing_up(tmp_path: Path) -> None:
    """A child of its own that keeps the pipe open is ended with it."""
    note = tmp_path / "pid"
    program = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        f"    open({str(tmp_path / 'new')!r}, 'w').write(str(os.getpid()))\n"
        f"    os.rename({str(tmp_path / 'new')!r}, {str(note)!r})\n"
        "    time.sleep(60)\n"
        f"while not os.path.exists({str(note)!r}): time.sleep(0.01)\n"
        f"sys.stdout.write({KEY.key.hex()!r})\n"
    )
    began = monotonic()
    assert from_command([sys.executable, "-S", "-c", program]) == KEY
    assert monotonic() - began < 20
    state = Path(f"/proc/{note.read_text()}/stat")
    while state.exists() and state.read_text().split()[2] != "Z":
        assert monotonic() - began < 20
        sleep(0.01)


def test_the_key_is_not_shown() -> None:
    """A repr goes into logs and tracebacks."""
    assert repr(KEY.key) not in repr(KEY)
    assert KEY.key.hex() not in repr(KEY)
    assert control_key.CONTROL_KEY_FILE == "control.key"


def test_each_kind_has_a_key_of_its_own() -> None:
    """A derived key that leaks opens one kind of value."""
    keys = {KEY._derived(what) for what in Sealed} | {Key256(KEY.key)}
    assert len(keys) == len(Sealed) + 1
