"""The tests; STYLE of each: one sentence says why it exists."""
