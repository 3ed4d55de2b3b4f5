-- What this node was told about the use of its data, to be noted in the log: statements, and ids of contracts. What was there
-- before is noted as well.
CREATE TABLE memos_due (
    id    INTEGER PRIMARY KEY,
    what  TEXT NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
INSERT INTO memos_due (what, bytes) SELECT 'order', statement FROM orders ORDER BY at;
INSERT INTO memos_due (what, bytes) SELECT 'revoked', contract FROM revocations ORDER BY at;
INSERT INTO memos_due (what, bytes) SELECT DISTINCT 'contract', contract FROM contract_signatures;

-- This node's memos; what is sealed is kept until the memo is in the log.
CREATE TABLE memos (
    number INTEGER PRIMARY KEY,
    tag    BLOB NOT NULL UNIQUE,
    sealed BLOB,
    logged INTEGER NOT NULL
) STRICT;
CREATE INDEX memos_unlogged ON memos (number) WHERE logged = 0;

-- What the log shows that this node was told, and the database does not have: nothing is admitted until it is here, or until
-- the owner says that it need not be. `told` is what could be opened and waits for a contract.
CREATE TABLE memos_lacking (
    tag         BLOB PRIMARY KEY,
    number      INTEGER NOT NULL,
    told        BLOB,
    accepted_at INTEGER,
    reason      TEXT
) STRICT;
