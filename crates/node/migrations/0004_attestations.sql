-- Attestations that this node gave and has not seen in the log. Each is handed in until it is there.
CREATE TABLE attestations (
    seq       INTEGER PRIMARY KEY,
    job       BLOB NOT NULL,
    id        BLOB NOT NULL UNIQUE,
    statement BLOB NOT NULL
) STRICT;
