"""The access key that signs calls of the DynamoDB API, and where it is found.

`client.env` of an explicit `--data` counts first, then AWS's own variables, then the `client.env`
that lies in its usual place. The secret signs and never travels; all the same the key of a
`client.env` signs for that server only, since whoever gets a signed request could repeat it there.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from dstore.base.clock import SystemClock
from dstore.cli.connection import CLIENT_FILE, Connection, Surface, client_file, server_url
from dstore.cli.failures import usage
from dstore.cli.options import Asked

SERVICE: Final = "dynamodb"
_KEY_ID: Final = "AWS_ACCESS_KEY_ID"
_SECRET: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a variable's name
_SESSION: Final = "AWS_SESSION_TOKEN"
_REGION_DEFAULT: Final = "us-east-1"
# What a header can carry as one word; the id and the region stand between `/` and `,` there.
_WORD: Final = re.compile(r"[!-~]+", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """An access key at hand.

    Attributes:
        source: words for where the key stood.
        session_token: of temporary keys, as AWS hands them out; None for dStore's.
    """

    key_id: str
    secret: str = field(repr=False)
    session_token: str | None = field(repr=False)
    region: str
    source: str

    def headers(
        self, url: str, target: str, *, headers: Sequence[tuple[str, str]], body: bytes
    ) -> dict[str, str]:
        """Sign a POST.

        Args:
            url: of the server.
            target: path and query, as they will be sent.
            headers: what will be sent and is signed, without Host.
            body: as it will be sent.
        Returns: all headers to send.
        """
        from dstore.security.credentials import AccessKey, AccessKeyId
        from dstore.security.sigv4 import sign

        whole = [("Host", _host(url)), *headers]
        if self.session_token is not None:
            whole.append(("X-Amz-Security-Token", self.session_token))
        signature = sign(
            method="POST",
            target=target,
            headers=whole,
            body_sha256=hashlib.sha256(body).hexdigest(),
            access_key=AccessKey(id=AccessKeyId(self.key_id), secret=self.secret),
            region=self.region,
            service=SERVICE,
            now_us=SystemClock().wall_us(),
        )
        return dict([*whole, *signature])


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedConnection:
    """A server of the DynamoDB API; `server.missing` says why there is no signer."""

    server: Connection
    region: str
    signer: Signer | None

    def require_signer(self) -> Signer:
        """Return the signer.

        Raises: Failure(USAGE): there is no access key that may sign for this server.
        """
        if self.signer is None:
            raise usage(self.server.missing)
        return self.signer


def find_signed(asked: Asked, environment: Mapping[str, str]) -> SignedConnection:
    """Find the server, the access key and the region.

    Raises: Failure(USAGE): a URL is none, a file can't be read, or a key can't be one.
    """
    from_file = client_file(asked, environment)
    url, is_ours = server_url(Surface.DYNAMODB, asked, environment, from_file=from_file)
    region = _region(environment, from_file)
    signer, missing = (
        None,
        (
            f"There is no access key: set {_KEY_ID} and {_SECRET}, or give --data DIR where the "
            f"server's {CLIENT_FILE} is."
        ),
    )
    if asked.data is not None and from_file.get(_KEY_ID):
        signer = _signer(from_file, region, CLIENT_FILE)
    elif environment.get(_KEY_ID):
        signer = _signer(environment, region, _KEY_ID)
    elif from_file.get(_KEY_ID) and is_ours:
        signer = _signer(from_file, region, CLIENT_FILE)
    elif from_file.get(_KEY_ID):
        missing = (
            f"The access key in {CLIENT_FILE} belongs to another server than {url}: set {_KEY_ID} "
            f"and {_SECRET}, or give --data DIR to sign with it all the same."
        )
    server = Connection(
        surface=Surface.DYNAMODB, url=url, token=None, token_source="", missing=missing
    )
    return SignedConnection(server=server, region=region, signer=signer)


def _signer(variables: Mapping[str, str], region: str, source: str) -> Signer:
    key_id, secret = variables[_KEY_ID], variables.get(_SECRET, "")
    session_token = variables.get(_SESSION) or None
    if not _NAME.fullmatch(key_id):
        raise usage(f"{_KEY_ID} of {source} is no access key's id: letters and digits.")
    if not _WORD.fullmatch(secret):
        raise usage(f"{_KEY_ID} of {source} has no {_SECRET} beside it, or one that can't be one.")
    if session_token is not None and not _WORD.fullmatch(session_token):
        raise usage(f"{_SESSION} of {source} holds no token.")
    return Signer(
        key_id=key_id, secret=secret, session_token=session_token, region=region, source=source
    )


def _region(environment: Mapping[str, str], from_file: Mapping[str, str]) -> str:
    """Choose the name that is signed along; dStore takes any."""
    for variables in (environment, from_file):
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            if region := variables.get(name):
                if not _NAME.fullmatch(region):
                    raise usage(f"The region in {name} is none; write it as us-east-1.")
                return region
    return _REGION_DEFAULT


def _host(url: str) -> str:
    """Spell the Host header as it is sent: a scheme's usual port is left out."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    host = f"[{name}]" if ":" in name else name
    return host if parts.port in {None, _PORTS[parts.scheme]} else f"{host}:{parts.port}"
