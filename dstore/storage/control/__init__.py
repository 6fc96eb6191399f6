"""Control's relational store: `store` is the port, `records` what is kept; one file a noun.

`opening.open_store` chooses the engine by its address: `sqlite` or `postgres`. See DESIGN.md here.
"""
