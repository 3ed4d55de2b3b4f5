-- What shows that a party broke a protocol, from this node's own attempts and from records that it attested.
CREATE TABLE evidence (
    id      INTEGER PRIMARY KEY,
    job     BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    seat    INTEGER NOT NULL,
    offence TEXT NOT NULL,
    at      INTEGER NOT NULL,
    blame   BLOB NOT NULL,
    UNIQUE (job, hash)
) STRICT;
