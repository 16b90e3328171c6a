-- How often a permalink was read, apart from the content: reading never rewrites text, and counts come in batches.
CREATE TABLE access (
    id TEXT NOT NULL PRIMARY KEY,
    reads INTEGER NOT NULL,
    last_read INTEGER NOT NULL -- seconds since 1970-01-01 UTC
) STRICT, WITHOUT ROWID;

-- What an administrator has taken down: its text is gone, and the same text is not taken again.
CREATE TABLE tombstone (
    id TEXT NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL, -- of the content, so that sharing it again is refused; empty if it was not known
    removed INTEGER NOT NULL, -- seconds since 1970-01-01 UTC
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstone_digest ON tombstone (digest);
