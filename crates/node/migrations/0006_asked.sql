-- Periods of contracts that limit different keys, for each recipient. Keys are kept as hashes under the period's own
-- secret, which goes with them when the period is over.
CREATE TABLE asked_periods (
    id        INTEGER PRIMARY KEY,
    contract  BLOB NOT NULL,
    recipient BLOB NOT NULL,
    number    INTEGER NOT NULL,
    until     INTEGER NOT NULL,
    secret    BLOB NOT NULL,
    keys      INTEGER NOT NULL,
    UNIQUE (contract, recipient, number)
) STRICT;

CREATE TABLE asked_keys (
    period INTEGER NOT NULL REFERENCES asked_periods (id) ON DELETE CASCADE,
    tag    BLOB NOT NULL,
    PRIMARY KEY (period, tag)
) STRICT, WITHOUT ROWID;
