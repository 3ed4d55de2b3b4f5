-- What this node counted of its own part in an attempt that it will attest, or NULL where it had no such part. Nobody else can
-- check it: the attestation commits to it and shows none of it.
CREATE TABLE asserted (
    job          BLOB PRIMARY KEY,
    attempt      INTEGER NOT NULL,
    rows_scanned INTEGER,
    cpu_ms       INTEGER NOT NULL,
    memory_bytes INTEGER
) STRICT;
