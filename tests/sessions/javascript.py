"""Runs javascript.cjs, a session with AWS's SDK for JavaScript v3, on one endpoint."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.dynalite import running_dynalite
from tests.support.dynamodb import Endpoint
from tests.support.node_packages import installed
from tests.support.server import running

# Of late 2026; versions after it need Node 22.
PACKAGES: Final = ("@aws-sdk/client-dynamodb@3.1164.0", "@aws-sdk/lib-dynamodb@3.1162.0")
_SESSION: Final = Path(__file__).with_name("javascript.cjs")
_SESSION_S: Final = 300.0


def main() -> int:
    """Run the session. Returns: 0 if every step was right."""
    parser = argparse.ArgumentParser(prog="scripts/sessions/javascript", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="another endpoint than a dStore of its own")
    where.add_argument("--dynalite", action="store_true", help="a dynalite of its own")
    options = parser.parse_args()
    modules = installed(*PACKAGES) / "node_modules"
    with _endpoint(options) as endpoint, tempfile.TemporaryDirectory() as home:
        variables = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": home,
            "NODE_PATH": str(modules),
            "AWS_ENDPOINT_URL_DYNAMODB": endpoint.url,
            "AWS_ACCESS_KEY_ID": endpoint.key_id,
            "AWS_SECRET_ACCESS_KEY": endpoint.secret,
            "AWS_REGION": endpoint.region,
            "NODE_NO_WARNINGS": "1",
            # It verifies no signature and returns no item with a failed condition.
            "IS_DYNALITE": "yes" if options.dynalite else "",
        }
        command = ["node", str(_SESSION)]
        return subprocess.run(command, env=variables, timeout=_SESSION_S, check=False).returncode


@contextmanager
def _endpoint(options: argparse.Namespace) -> Iterator[Endpoint]:
    if options.dynalite:
        with running_dynalite() as url:
            yield Endpoint(url=url, key_id="AKIAIOSFODNN7EXAMPLE", secret="example")
    elif options.url is not None:
        key_id, secret = (
            os.environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
        )
        region = os.environ.get("AWS_REGION", "us-east-1")
        yield Endpoint(url=options.url, key_id=key_id, secret=secret, region=region)
    else:
        with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as server:
            env = server.env()
            key_id, secret = env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]
            yield Endpoint(url=env["DSTORE_URL"], key_id=key_id, secret=secret)


if __name__ == "__main__":
    sys.exit(main())
