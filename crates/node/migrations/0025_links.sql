-- What went over each link of the last attempt of a job, as its ends have signed it: one leaf for each other end. The state is
-- 0 where both have signed the same, 1 where they have not, and 2 where one seal alone is here.
CREATE TABLE links (
    job     BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    peer    BLOB NOT NULL,
    state   INTEGER NOT NULL,
    leaf    BLOB NOT NULL,
    PRIMARY KEY (job, peer)
) STRICT, WITHOUT ROWID;
