"""Calls between components: one interface, over a WebSocket or by reference in one process.

Read `port` first, then `calls` (what can be called), `remote` (the caller's side), `answering`
(the other side), `link` and `records` (what passes between them), and `direct`, the twin.
"""
