"""The operator's API, on a listener of its own: credentials, status, metrics."""
