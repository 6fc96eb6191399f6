"""Whole-file encryption for SQLite: a VFS that seals every page and every WAL frame.

Start with `layout` (what is on disk), then `main_file` and `wal_file` (the two kinds of file),
then `vault` (how the rest of storage opens one). `DESIGN.md` beside this file argues the format.
"""
