"""The REST API of SPEC.md: tenants, tables, entries. `routes` lists it, one noun a file."""
