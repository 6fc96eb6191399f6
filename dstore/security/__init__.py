"""Keys, sealed values, credentials and request signatures; pure arithmetic over bytes.

Nothing here reads a clock, a file or the network: the caller passes time, randomness and bytes in.
Start with `envelope` (how a value is sealed), then `keys` (what it is sealed under).
"""
