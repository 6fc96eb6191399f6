"""dStore: a multi-tenant, encrypted key/value store with a plain REST API.

Where to go next: `dstore/__main__.py` starts the executable, `dstore/daemon.py` composes the roles.
"""

from typing import Final

__version__: Final = "0.1.0"
