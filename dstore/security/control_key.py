"""Control's own key, under which its relational store holds keys and secrets.

It is in no database: it stands in a file that only its owner can read (mode 0600), or a command
prints it (a KMS's or a TPM's client), which runs without a shell, for a bounded time, with bounded
output. All controls of one control plane share it. Text form: 64 hexadecimal digits, or base64 of
32 bytes; white space around it does not count.

Every sealed value is bound to what it is and whose: a sealed key that is moved to another row does
not open there. Its nonce is random; AES-256-GCM-SIV forgives a repetition.
"""

from __future__ import annotations

import binascii
import os
import re
import signal
import subprocess
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from dstore.base.limits import KEY_COMMAND_OUTPUT_BYTES_MAX, KEY_COMMAND_TIMEOUT_S
from dstore.base.private_files import read_private, write_private
from dstore.model.errors import Corrupt, Unavailable, UnavailableKind
from dstore.security.envelope import (
    KEY_BYTES,
    framed,
    key_check_value,
    open_sealed,
    seal,
)
from dstore.security.keys import Key256, Purpose, derive, new_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dstore.base.entropy import Entropy

CONTROL_KEY_FILE: Final = "control.key"
_FILE_BYTES_MAX: Final = 256
_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{64}")
_CHECK_ID: Final = "control-key"
_FORM: Final = "64 hexadecimal digits, or base64 of 32 bytes"


class Sealed(StrEnum):
    """What control's store holds sealed; the word is in the seal, never rename one."""

    AUTHORITY = "authority"  # the private key of the control plane's authority
    CONTROL_PLANE = "control-plane"  # the control plane's own key
    NODE = "node"  # a (node, control plane) key
    PROXY = "proxy"  # a (proxy, control plane) key
    TENANT = "tenant"  # a (tenant, control plane) key
    ACCESS_KEY = "access-key"  # the secret of an access key


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlKey:
    """Control's own key, in memory; it never seals itself: each purpose has a derived key."""

    key: Key256 = field(repr=False)

    @classmethod
    def of_text(cls, text: bytes, *, source: str) -> Self:
        """Read a key in one of its two spellings.

        Args:
            text: as a file holds it or a command prints it.
            source: names that file or command, for the operator.

        Raises: Unavailable(LOCKED): it is no key, or one of zeros; nothing of it is quoted.
        """
        found = _decoded(text.strip())
        if found is None or not any(found):
            raise _locked(f"{source} holds no key of control: {_FORM}.")
        return cls(key=Key256(found))

    def check_value(self) -> bytes:
        """Tell this key from another, 16 bytes that may stand in clear beside what it sealed.

        Two controls on one store must have the same key; comparing this says so at the start.
        """
        return key_check_value(self.key, _CHECK_ID)

    def seal(self, plaintext: bytes, *, what: Sealed, record_id: str, entropy: Entropy) -> bytes:
        """Seal a value for one record of control's store.

        Args:
            plaintext: at most envelope.PLAINTEXT_BYTES_MAX bytes.
            what: its kind.
            record_id: whose it is, by what never changes of it: a UUID, or an access key's id.
            entropy: source of the nonce.
        """
        return seal(
            self._derived(what), plaintext, context=_context(what, record_id), entropy=entropy
        )

    def open(self, sealed: bytes, *, what: Sealed, record_id: str) -> bytes:
        """Open what `seal` made for the same record.

        Raises: WrongKey: it is of another key, another kind or another record, or it is damaged;
            `check_value` tells the first from the rest.
        """
        return open_sealed(self._derived(what), sealed, context=_context(what, record_id))

    def seal_key(self, key: Key256, *, what: Sealed, record_id: str, entropy: Entropy) -> bytes:
        """Seal a 256-bit key for one record."""
        assert len(key) == KEY_BYTES
        return self.seal(key, what=what, record_id=record_id, entropy=entropy)

    def open_key(self, sealed: bytes, *, what: Sealed, record_id: str) -> Key256:
        """Open a 256-bit key. Raises: WrongKey: see `open`. Corrupt: it has another length."""
        opened = self.open(sealed, what=what, record_id=record_id)
        if len(opened) != KEY_BYTES:
            raise Corrupt("A sealed key has a wrong length.", file="control store", where=what)
        return Key256(opened)

    def file_key(self, name: str) -> Key256:
        """The key of a whole file of control's, where it lies beside a node's files (I2)."""
        return derive(self.key, purpose=Purpose.CONTROL_FILE, context=[name])

    def _derived(self, what: Sealed) -> Key256:
        return derive(self.key, purpose=Purpose.CONTROL_STORE, context=[what.value])


def load_or_create(path: Path, *, may_create: bool, entropy: Entropy) -> ControlKey:
    """Read control's key file, or make it for a new store.

    Args:
        path: the file; it belongs neither on the store's disk nor into its backups.
        may_create: the store is new. Beside a store that exists a missing key is never replaced:
            nothing sealed under it would open again.
        entropy: source of a new key.

    Raises: Unavailable(LOCKED): it is missing, others can read it, or it holds no key.
    """
    if may_create and not path.exists():
        write_private(path, new_key(entropy).hex().encode() + b"\n")
    try:
        text = read_private(path, bytes_max=_FILE_BYTES_MAX)
    except FileNotFoundError:
        raise _locked(f"{path.name}, control's own key, is missing; restore it.") from None
    except (PermissionError, ValueError) as error:
        raise _locked(str(error)) from None
    return ControlKey.of_text(text, source=path.name)


def from_command(command: Sequence[str], *, timeout_s: float = KEY_COMMAND_TIMEOUT_S) -> ControlKey:
    """Run the command that prints control's key; call it in a thread.

    No shell reads the command; it gets no input, and the terminal's error stream. What it prints is
    never logged.

    Raises: Unavailable(LOCKED): it cannot be started, fails, takes longer than `timeout_s`, or
        prints something else than a key.
    """
    if not command:
        raise _locked("The command that prints control's key is empty.")
    name = command[0]
    try:
        # The operator's own setting, an argument list. A group of its own ends as a whole.
        process = subprocess.Popen(  # noqa: S603
            list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it has a null character"
        raise _locked(f"{name}, which prints control's key, did not start: {reason}.") from None
    try:
        text = _printed(process, name, timeout_s=timeout_s)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever it left running, too
        process.wait()
    return ControlKey.of_text(text, source=f"What {name} prints")


def _printed(process: subprocess.Popen[bytes], name: str, *, timeout_s: float) -> bytes:
    """Wait for a command's end, then take what it printed.

    A pipe holds 64 KiB, so who prints a key never waits for us, and who prints without end is
    stopped by the time.
    """
    assert process.stdout is not None
    with process.stdout as pipe:
        os.set_blocking(pipe.fileno(), False)  # what it left running may hold the other end
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            message = f"{name}, which prints control's key, did not end within {timeout_s:g} s."
            raise _locked(message) from None
        if status != 0:
            raise _locked(f"{name}, which prints control's key, failed with status {status}.")
        text = os.read(pipe.fileno(), KEY_COMMAND_OUTPUT_BYTES_MAX + 1)
    if len(text) > KEY_COMMAND_OUTPUT_BYTES_MAX:
        raise _locked(f"What {name} prints holds no key of control: {_FORM}.")
    return text


def _decoded(text: bytes) -> bytes | None:
    if _HEXADECIMAL.fullmatch(text):
        return bytes.fromhex(text.decode())
    try:
        found = b64decode(text, validate=True)
    except binascii.Error:
        return None
    return found if len(found) == KEY_BYTES else None


def _context(what: Sealed, record_id: str) -> bytes:
    return framed((b"control-store", what.value.encode(), record_id.encode()))


def _locked(message: str) -> Unavailable:
    return Unavailable(UnavailableKind.LOCKED, message)
