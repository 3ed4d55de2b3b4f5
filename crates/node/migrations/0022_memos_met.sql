-- A memo is noted once this node has met it in the log under a root that it verified, and not when the coordinator says so: `said`
-- is when that said so first. What was marked before stays marked, and holes in its numbers are none of the log's.
CREATE TABLE memos_met (
    number INTEGER PRIMARY KEY,
    tag    BLOB NOT NULL,
    sealed BLOB,
    said   INTEGER,
    logged INTEGER NOT NULL
) STRICT;
INSERT INTO memos_met SELECT number, tag, sealed, NULL, logged FROM memos;
WITH RECURSIVE most(n) AS (SELECT coalesce(max(number), 0) FROM memos WHERE logged = 1),
               all_of(n) AS (SELECT 1 UNION ALL SELECT all_of.n + 1 FROM all_of, most WHERE all_of.n < most.n)
INSERT OR IGNORE INTO memos_met SELECT all_of.n, randomblob(32), NULL, NULL, 1 FROM all_of, most WHERE all_of.n <= most.n;
DROP TABLE memos;
ALTER TABLE memos_met RENAME TO memos;
CREATE INDEX memos_unlogged ON memos (number) WHERE logged = 0;
CREATE INDEX memos_tag ON memos (tag);

-- A number that the log leaves out while it has later ones is lacking too, and has no tag.
CREATE TABLE memos_lack (
    number      INTEGER NOT NULL,
    tag         BLOB UNIQUE,
    told        BLOB,
    accepted_at INTEGER,
    reason      TEXT
) STRICT;
INSERT INTO memos_lack SELECT number, tag, told, accepted_at, reason FROM memos_lacking;
DROP TABLE memos_lacking;
ALTER TABLE memos_lack RENAME TO memos_lacking;
CREATE UNIQUE INDEX memos_left_out ON memos_lacking (number) WHERE tag IS NULL;
