-- Jobs that brought lists of keys together, by the owners who did. What the lists were is in files beside the database.
CREATE TABLE alignments (
    job    BLOB PRIMARY KEY,
    owners BLOB NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX alignments_owners ON alignments (owners, at);
