CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

-- seq is the order of enrolment.
CREATE TABLE parties (
    seq     INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    root    BLOB NOT NULL UNIQUE,
    node    BLOB NOT NULL UNIQUE,
    card    BLOB NOT NULL,
    address TEXT NOT NULL,
    slots   INTEGER NOT NULL
) STRICT;

CREATE TABLE datasets (
    id         BLOB PRIMARY KEY,
    node       BLOB NOT NULL REFERENCES parties (node),
    descriptor BLOB NOT NULL
) STRICT;
CREATE INDEX datasets_of ON datasets (node);

CREATE TABLE contracts (
    id        BLOB NOT NULL,
    signer    BLOB NOT NULL,
    statement BLOB NOT NULL,
    PRIMARY KEY (id, signer)
) STRICT;

-- The code itself is nowhere.
CREATE TABLE invitations (
    hash    BLOB PRIMARY KEY,
    name    TEXT NOT NULL,
    role    TEXT NOT NULL,
    expires INTEGER NOT NULL
) STRICT;

-- seq is the order of submission, by which pages go.
CREATE TABLE jobs (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           BLOB NOT NULL UNIQUE,
    signer       BLOB NOT NULL,
    state        TEXT NOT NULL,
    over         INTEGER NOT NULL,
    submitted_at INTEGER NOT NULL,
    value        BLOB NOT NULL
) STRICT;
CREATE INDEX jobs_open ON jobs (seq) WHERE over = 0;
CREATE INDEX jobs_by_time ON jobs (submitted_at);

-- The places of leaves that a signed head covers. One job has one receipt.
CREATE TABLE leaves (
    place INTEGER PRIMARY KEY,
    hash  BLOB NOT NULL UNIQUE,
    job   BLOB UNIQUE
) STRICT;
