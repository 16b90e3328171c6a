-- A shared cell, as it was written. The id is text of any form, so that ids of imported databases stay valid.
CREATE TABLE permalink (
    id TEXT NOT NULL PRIMARY KEY,
    code TEXT NOT NULL,
    language TEXT NOT NULL,
    interacts TEXT NOT NULL,
    created INTEGER NOT NULL -- seconds since 1970-01-01 UTC
) STRICT;

-- One row that the health check rewrites and reads back.
CREATE TABLE canary (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    beat INTEGER NOT NULL
) STRICT;

INSERT INTO canary (id, beat) VALUES (1, 0);
