-- The coordinator's word that the receipt of a record that was attested here will be in the log in time; kept until the
-- receipt is seen. `seen` leaves of the log were there before it. Standing: 0 open, 1 unkept, 2 forgiven by the owner.
CREATE TABLE promises (
    usage     BLOB PRIMARY KEY,
    job       BLOB NOT NULL,
    deadline  INTEGER NOT NULL,
    seen      INTEGER NOT NULL,
    standing  INTEGER NOT NULL DEFAULT 0,
    statement BLOB NOT NULL
) STRICT;
CREATE INDEX promises_unkept ON promises (deadline) WHERE standing = 1;
