-- What a node must not lose. Every change of a job is one transaction.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE parties (
    root    BLOB PRIMARY KEY,
    node    BLOB NOT NULL UNIQUE,
    name    TEXT NOT NULL,
    card    BLOB NOT NULL,
    address TEXT NOT NULL
) STRICT;

CREATE TABLE datasets (
    name         TEXT NOT NULL,
    version      INTEGER NOT NULL,
    id           BLOB NOT NULL UNIQUE,
    registration TEXT NOT NULL,
    descriptor   BLOB NOT NULL,
    rows         INTEGER NOT NULL,
    added_at     INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

CREATE TABLE contract_signatures (
    contract  BLOB NOT NULL,
    signer    BLOB NOT NULL,
    statement BLOB NOT NULL,
    PRIMARY KEY (contract, signer)
) STRICT;

CREATE TABLE revocations (
    contract BLOB PRIMARY KEY,
    at       INTEGER NOT NULL
) STRICT;

CREATE TABLE jobs (
    id       BLOB PRIMARY KEY,
    state    BLOB NOT NULL,
    contract BLOB,
    open     INTEGER NOT NULL,
    seen_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_contract ON jobs (contract);
CREATE INDEX jobs_open ON jobs (open) WHERE open = 1;

-- Records that protocols made durable before they went on: consumed keys, decisions.
CREATE TABLE protocol_records (
    job     BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    ticket  INTEGER NOT NULL,
    record  BLOB NOT NULL,
    PRIMARY KEY (job, attempt, ticket)
) STRICT;

-- What left this node: payload bytes by job, peer and kind.
CREATE TABLE egress (
    job   BLOB NOT NULL,
    peer  BLOB NOT NULL,
    kind  TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (job, peer, kind)
) STRICT;
