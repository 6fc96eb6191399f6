"""The cipher is RFC 8452's; the start-up test says in a sentence when it is not."""

import pytest
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from dstore.security import selftest
from dstore.security.page_cipher import PageCipher
from dstore.security.selftest import CipherUnusable, check_cipher

ONE = "01" + "00" * 31
THREE = "03" + "00" * 11
ZERO = "00" * 32

# RFC 8452 appendices C.2 and C.3, all AES-256 vectors: key, nonce, additional data, plaintext,
# ciphertext with tag.
VECTORS = """
1 3 - - 07f5f4169bbf55a8400cd47ea6fd400f
1 3 - 0100000000000000 c2ef328e5c71c83b843122130f7364b761e0b97427e3df28
1 3 - 010000000000000000000000 9aab2aeb3faa0a34aea8e2b18ca50da9ae6559e48fd10f6e5c9ca17e
1 3 - 01(15) 85a01b63025ba19b7fd3ddfc033b3e76c9eac6fa700942702e90862383c6c366
1 3 - 01(15)02(15) 4a6a9db4c8c6549201b9edb53006cba821ec9cf850948a7c86c68ac7539d027f\
e819e63abcd020b006a976397632eb5d
1 3 - 01(15)02(15)03(15) c00d121893a9fa603f48ccc1ca3c57ce7499245ea0046db16c53c7c66fe717e3\
9cf6c748837b61f6ee3adcee17534ed5790bc96880a99ba804bd12c0e6a22cc4
1 3 - 01(15)02(15)03(15)04(15) c2d5160a1f8683834910acdafc41fbb1632d4a353e8b905ec9a5499ac34f96c7\
e1049eb080883891a4db8caaa1f99dd004d80487540735234e3744512c6f90ce112864c269fc0d9d88c61fa47e39aa08
1 3 01 0200000000000000 1de22967237a813291213f267e3b452f02d01ae33e4ec854
1 3 01 020000000000000000000000 163d6f9cc1b346cd453a2e4cc1a4a19ae800941ccdc57cc8413c277f
1 3 01 02(15) c91545823cc24f17dbb0e9e807d5ec17b292d28ff61189e8e49f3875ef91aff7
1 3 01 02(15)03(15) 07dad364bfc2b9da89116d7bef6daaaf6f255510aa654f920ac81b94e8bad365\
aea1bad12702e1965604374aab96dbbc
1 3 01 02(15)03(15)04(15) c67a1f0f567a5198aa1fcc8e3f21314336f7f51ca8b1af61feac35a86416fa47\
fbca3b5f749cdf564527f2314f42fe2503332742b228c647173616cfd44c54eb
1 3 01 02(15)03(15)04(15)05(15) 67fd45e126bfb9a79930c43aad2d36967d3f0e4d217c1e551f59727870beefc9\
8cb933a8fce9de887b1e40799988db1fc3f91880ed405b2dd298318858467c895bde0285037c5de81e5b570a049b62a0
1 3 010000000000000000000000 02000000 22b3f4cd1835e517741dfddccfa07fa4661b74cf
1 3 01(15)0200 03(15)04000000 43dd0163cdb48f9fe3212bf61b201976067f342b\
b879ad976d8242acc188ab59cabfe307
1 3 01(15)02000000 03(15)0400 462401724b5ce6588d5a54aae5375513a075cfcdf5042112aa29685c912fc2056543
bae8e37fc83441b16034566b7a806c46bb91c3c5aedb64a6c590bc84d1a5e269 e4b47801afc0577e34699b9e \
4fbdc66f14 671fdd 0eaccb93da9bb81333aee0c785b240d319719d
6545fc880c94a95198874296d5cc1fd161320b6920ce07787f86743b275d1ab3 2f6d1f0434d8848c1177441f \
6787f3ea22c127aaf195 195495860f04 a254dad4f3f96b62b84dc40c84636a5ec12020ec8c2c
d1894728b3fed1473c528b8426a582995929a1499e9ad8780c8d63d0ab4149c0 9f572c614b4745914474e7c7 \
489c8fde2be2cf97e74e932d4ed87d c9882e5386fd9f92ec 0df9e308678244c44bc0fd3dc6628dfe55ebb0b9fb2295c8c2
a44102952ef94b02b805249bac80e6f61455bfac8308a2d40d8c845117808235 5c9e940fea2f582950a70d5a \
0da55210cc1c1b0abde3b2f204d1e9f8b06bc47f 1db2316fd568378da107b52b \
8dbeb9f7255bf5769dd56692404099c2587f64979f21826706d497d5
9745b3d1ae06556fb6aa7890bebc18fe6b3db4da3d57aa94842b9803a96e07fb 6de71860f762ebfbd08284e4 \
f37de21c7ff901cfe8a69615a93fdf7a98cad481796245709f 21702de0de18baa9c9596291b08466 \
793576dfa5c0f88729a7ed3c2f1bffb3080d28f6ebb5d3648ce97bd5ba67fd
b18853f68d833640e42a3c02c25b64869e146d7b233987bddfc240871d7576f7 028ec6eb5ea7e298342a94d4 \
9c2159058b1f0fe91433a5bdc20e214eab7fecef4454a10ef0657df21ac7 b202b370ef9768ec6561c4fe6b7e7296fa85 \
857e16a64915a787637687db4a9519635cdd454fc2a154fea91f8363a39fec7d0a49
3c535de192eaed3822a2fbbe2ca9dfc88255e14a661b8aa82cc54236093bbc23 688089e55540db1872504e1c \
734320ccc9d9bbbb19cb81b2af4ecbc3e72834321f7aa0f70b7282b4f33df23f167541 \
ced532ce4159b035277d4dfbb7db62968b13cd4eec \
626660c26ea6612fb17ad91e8e767639edd6c9faee9d6c7029675b89eaf4ba1ded1a286594
0 0 - 000000000000000000000000000000004db923dc793ee6497c76dcc03a98e108 \
f3f80f2cf0cb2dd9c5984fcda908456cc537703b5ba70324a6793a7bf218d3eaffffffff000000000000000000000000
0 0 - eb3640277c7ffd1303c7a542d02d3e4c0000000000000000 \
18ce4f0b8cb4d0cac65fea8f79257b20888e53e72299e56dffffffff000000000000000000000000
"""


def vectors() -> list[tuple[bytes, ...]]:
    """Spell the vectors out: 1 and 0 stand for keys, 3 and 0 for nonces, (15) for 15 zero bytes."""
    short = ({"1": ONE, "0": ZERO}, {"3": THREE, "0": "00" * 12})
    listed = []
    for line in VECTORS.strip().splitlines():
        key, nonce, *rest = line.replace("(15)", "00" * 15).split()
        words = [short[0].get(key, key), short[1].get(nonce, nonce)]
        words += ["" if word == "-" else word for word in rest]
        listed.append(tuple(bytes.fromhex(word) for word in words))
    return listed


@pytest.mark.parametrize("vector", vectors())
def test_the_cipher_gives_the_published_answers(vector: tuple[bytes, ...]) -> None:
    """Files must be readable by any implementation of RFC 8452."""
    key, nonce, aad, plaintext, sealed = vector
    assert AESGCMSIV(key).encrypt(nonce, plaintext, aad) == sealed
    assert AESGCMSIV(key).decrypt(nonce, sealed, aad) == plaintext
    with pytest.raises(InvalidTag):
        AESGCMSIV(key).decrypt(nonce, sealed, aad + b"\0")


@pytest.mark.parametrize("vector", vectors())
def test_the_page_cipher_gives_the_published_answers(vector: tuple[bytes, ...]) -> None:
    """Pages are sealed by another library; both must be the one cipher, in both directions."""
    key, nonce, aad, plaintext, sealed = vector
    pages = PageCipher(key)
    assert pages.open(nonce + sealed, aad) == plaintext
    assert pages.open(nonce + sealed, aad + b"\0") is None
    own = pages.seal(plaintext, aad)
    assert AESGCMSIV(key).decrypt(own[:12], own[12:], aad) == plaintext


@pytest.mark.parametrize("length", [0, 11, 12, 27])
def test_what_is_too_short_for_a_seal_does_not_open(length: int) -> None:
    """A file cut short is damage, and never an exception of a library's own."""
    assert PageCipher(bytes(32)).open(bytes(length), b"") is None


def test_all_vectors_are_there() -> None:
    """A vector lost in editing would go unnoticed."""
    assert len(vectors()) == 25


def test_this_machine_passes() -> None:
    """The start-up test must not refuse a good installation."""
    check_cipher()


def test_a_missing_cipher_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenSSL before 3.2 lacks the cipher; the operator reads what to install."""

    def absent(key: bytes) -> AESGCMSIV:
        raise UnsupportedAlgorithm("AES-GCM-SIV is not supported by this version of OpenSSL")

    monkeypatch.setattr(selftest, "AESGCMSIV", absent)
    with pytest.raises(CipherUnusable, match=r"OpenSSL is older than 3\.2"):
        check_cipher()


class Fake:
    """A cipher with one fault."""

    def __init__(self, key: bytes, *, fault: str) -> None:
        self._real = AESGCMSIV(key)
        self._fault = fault

    def encrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        """Encrypt, wrongly if that is the fault."""
        sealed = self._real.encrypt(nonce, data, aad)
        return bytes(len(sealed)) if self._fault == "encrypts wrongly" else sealed

    def decrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        """Decrypt, without looking at the tag if that is the fault."""
        try:
            opened = self._real.decrypt(nonce, data, aad)
        except InvalidTag:
            if self._fault == "ignores the tag":
                return b""
            raise
        if self._fault == "never opens":
            raise InvalidTag
        return opened


@pytest.mark.parametrize("fault", ["encrypts wrongly", "ignores the tag", "never opens"])
def test_a_wrong_cipher_is_refused(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A cipher that computes something else must not touch any data."""
    monkeypatch.setattr(selftest, "AESGCMSIV", lambda key: Fake(key, fault=fault))
    with pytest.raises(CipherUnusable, match="wrongly"):
        check_cipher()


class FakePages(PageCipher):
    """A page cipher with one fault."""

    __slots__ = ("_fault",)

    def __init__(self, key: bytes, *, fault: str) -> None:
        super().__init__(key)
        real = self.seal
        if fault == "seals wrongly":
            self.seal = lambda plaintext, context: bytes(len(real(plaintext, context)))
        self._fault = fault

    def open(self, sealed: bytes, context: bytes) -> bytes | None:
        """Open, without looking at the tag, or never, if that is the fault."""
        if self._fault == "never opens":
            return None
        opened = super().open(sealed, context)
        return b"" if opened is None and self._fault == "ignores the tag" else opened


@pytest.mark.parametrize("fault", ["seals wrongly", "ignores the tag", "never opens"])
def test_a_wrong_page_cipher_is_refused(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """The library of the pages is held against the vectors as the other one is."""
    monkeypatch.setattr(selftest, "PageCipher", lambda key: FakePages(key, fault=fault))
    with pytest.raises(CipherUnusable, match="tink package computes"):
        check_cipher()
