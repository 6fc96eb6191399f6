"""The nouns of dStore: names, values, numbers, keys, tables and errors.

Everything here is pure: no I/O, no clock, no randomness, no `async`. Start with `values` (what an
item is) and `keys` (how it is ordered on disk).
"""
