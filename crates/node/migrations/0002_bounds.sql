-- What is kept no longer than it is needed: until when a job may begin, and whether its report waits.
ALTER TABLE jobs ADD COLUMN expires INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN reported INTEGER NOT NULL DEFAULT 1;
UPDATE jobs SET expires = seen_at + 86400000;
UPDATE jobs SET reported = 0 WHERE open = 1;
CREATE INDEX jobs_unreported ON jobs (seen_at) WHERE reported = 0;

-- Egress of old jobs, by peer and kind.
CREATE TABLE egress_before (
    peer  BLOB NOT NULL,
    kind  TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (peer, kind)
) STRICT;
