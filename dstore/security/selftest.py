"""Known-answer test of the ciphers, run at start-up before any key is touched.

A build of `cryptography` over an OpenSSL before 3.2 has no AES-GCM-SIV; and a cipher that computes
something else would write files that nobody else can read. Either is said in one sentence at once.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from dstore.model.errors import DStoreError
from dstore.security.page_cipher import NONCE_BYTES, PageCipher

# RFC 8452 appendix C.2: key, nonce, additional data, plaintext, ciphertext with tag. One without
# and one with additional data, and the first of C.3, where the block counter wraps.
_KNOWN_ANSWERS: Final = (
    (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "030000000000000000000000",
        "",
        "0100000000000000",
        "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28",
    ),
    (
        "3c535de192eaed3822a2fbbe2ca9dfc88255e14a661b8aa82cc54236093bbc23",
        "688089e55540db1872504e1c",
        "734320ccc9d9bbbb19cb81b2af4ecbc3e72834321f7aa0f70b7282b4f33df23f167541",
        "ced532ce4159b035277d4dfbb7db62968b13cd4eec",
        "626660c26ea6612fb17ad91e8e767639edd6c9faee9d6c7029675b89eaf4ba1ded1a286594",
    ),
    (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "000000000000000000000000",
        "",
        "000000000000000000000000000000004db923dc793ee6497c76dcc03a98e108",
        (
            "f3f80f2cf0cb2dd9c5984fcda908456cc537703b5ba70324a6793a7bf218d3ea"
            "ffffffff000000000000000000000000"
        ),
    ),
)


class CipherUnusable(DStoreError):
    """This machine's AES-256-GCM-SIV is missing or wrong; nothing may be opened or written."""


def check_cipher() -> None:
    """Seal and open published vectors, and see a flipped bit refused; under a millisecond.

    Raises: CipherUnusable: with a sentence for the operator.
    """
    for key, nonce, aad, plaintext, sealed in _KNOWN_ANSWERS:
        _check_answer(
            bytes.fromhex(key),
            bytes.fromhex(nonce),
            bytes.fromhex(aad),
            plaintext=bytes.fromhex(plaintext),
            sealed=bytes.fromhex(sealed),
        )
        _check_page_cipher(
            bytes.fromhex(key),
            bytes.fromhex(aad),
            plaintext=bytes.fromhex(plaintext),
            sealed=bytes.fromhex(nonce + sealed),
        )


def _check_answer(key: bytes, nonce: bytes, aad: bytes, *, plaintext: bytes, sealed: bytes) -> None:
    try:
        cipher = AESGCMSIV(key)
    except UnsupportedAlgorithm:
        raise CipherUnusable(
            "The installed cryptography package has no AES-GCM-SIV: its OpenSSL is older than 3.2. "
            "Install the package's own wheel (pip install --only-binary :all: cryptography)."
        ) from None
    try:
        right = (
            cipher.encrypt(nonce, plaintext, aad) == sealed
            and cipher.decrypt(nonce, sealed, aad) == plaintext
        )
    except InvalidTag:
        right = False
    if not right or _opens(cipher, nonce, aad, damaged=sealed[:-1] + bytes((sealed[-1] ^ 1,))):
        raise CipherUnusable(
            "The installed cryptography package computes AES-256-GCM-SIV wrongly (RFC 8452 "
            "appendix C); reinstall it, and do not open any data with this installation."
        )


def _check_page_cipher(key: bytes, aad: bytes, *, plaintext: bytes, sealed: bytes) -> None:
    """Hold the pages' cipher against the vector, and against the other one what it seals itself."""
    pages = PageCipher(key)
    own = pages.seal(plaintext, aad)
    nonce, rest = own[:NONCE_BYTES], own[NONCE_BYTES:]
    if (
        pages.open(sealed, aad) != plaintext
        or pages.open(sealed[:-1] + bytes((sealed[-1] ^ 1,)), aad) is not None
        or AESGCMSIV(key).encrypt(nonce, plaintext, aad) != rest
    ):
        raise CipherUnusable(
            "The installed tink package computes AES-256-GCM-SIV wrongly (RFC 8452 appendix C); "
            "reinstall it, and do not open any data with this installation."
        )


def _opens(cipher: AESGCMSIV, nonce: bytes, aad: bytes, *, damaged: bytes) -> bool:
    try:
        cipher.decrypt(nonce, damaged, aad)
    except InvalidTag:
        return False
    return True
