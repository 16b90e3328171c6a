"""The permalink role: shared cells in one SQLite file, over HTTP on a Unix socket (trust line T8)."""
