-- Changes of parties' and witnesses' keys that stand in the log, in its order: which key speaks for whom.
CREATE TABLE party_rotations (
    leaf      INTEGER PRIMARY KEY,
    statement BLOB NOT NULL
) STRICT;

-- What was read of the log by a program that knew no such changes is read again.
DELETE FROM meta WHERE key = 'recounted';
