"""The metadata store: catalog, runs, collected series, access and audit, in SQLite or PostgreSQL (DESIGN §5)."""
