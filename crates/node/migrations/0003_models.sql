-- Models of this owner. The bytes never leave the node; the descriptor names the inputs alone.
CREATE TABLE models (
    name       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    id         BLOB NOT NULL UNIQUE,
    descriptor BLOB NOT NULL,
    salt       BLOB NOT NULL,
    model      BLOB NOT NULL,
    added_at   INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

-- Rows that an admitted job takes from its contract's allowance of scores.
ALTER TABLE jobs ADD COLUMN scored_rows INTEGER NOT NULL DEFAULT 0;
