-- Lists of what is denied, reviews of what computes, assessments of who receives: as this node's owner took them in.
CREATE TABLE orders (
    kind      TEXT NOT NULL,
    signer    BLOB NOT NULL,
    subject   TEXT NOT NULL,
    number    INTEGER NOT NULL,
    statement BLOB NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (kind, signer, subject)
) STRICT;
