-- Under which contract rows were asked about, nothing for those of before; and of which datasets the owner accepts that rows which
-- were asked about are forgotten since the database was restored, as of so many jobs that were counted from the log.
ALTER TABLE row_sets_asked ADD COLUMN contract BLOB NOT NULL DEFAULT x'';
CREATE INDEX row_sets_asked_contract ON row_sets_asked (dataset, contract, digest);

CREATE TABLE rows_accepted (
    dataset TEXT PRIMARY KEY,
    jobs    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    reason  TEXT NOT NULL
) STRICT;
