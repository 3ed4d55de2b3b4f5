-- With whom a job brought lists of keys together, one by one: who is met in two sets of owners is met twice.
CREATE TABLE alignment_peers (
    job  BLOB NOT NULL REFERENCES alignments (job) ON DELETE CASCADE,
    peer BLOB NOT NULL,
    PRIMARY KEY (job, peer)
) STRICT, WITHOUT ROWID;
