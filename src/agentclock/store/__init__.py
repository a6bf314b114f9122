"""The stores: SQLite and PostgreSQL, one contract."""
