-- Models that this node asks for scores of online, with what it last said of them.
CREATE TABLE published (
    name     TEXT PRIMARY KEY,
    template BLOB NOT NULL,
    batch_ms INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    status   TEXT NOT NULL
) STRICT;

-- Who may call.
CREATE TABLE callers (
    name     TEXT PRIMARY KEY,
    key      BLOB NOT NULL UNIQUE,
    added_at INTEGER NOT NULL
) STRICT;

-- The openings of calls. Keys are not among them.
CREATE TABLE calls (
    job     BLOB NOT NULL,
    number  INTEGER NOT NULL,
    opening BLOB NOT NULL,
    caller  TEXT NOT NULL,
    at      INTEGER NOT NULL,
    UNIQUE (job, number)
) STRICT;

-- The hashes of the calls of windows that have ended.
CREATE TABLE windows (
    job     BLOB NOT NULL UNIQUE,
    attempt INTEGER NOT NULL,
    leaves  BLOB NOT NULL
) STRICT;
