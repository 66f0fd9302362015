"""A whole installation in one file, the same for SQLite and PostgreSQL."""
