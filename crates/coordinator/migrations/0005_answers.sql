-- What owners answered to a job, as they signed it: for whoever shows under which authority it ran.
CREATE TABLE answers (
    job       BLOB NOT NULL,
    node      BLOB NOT NULL,
    statement BLOB NOT NULL,
    PRIMARY KEY (job, node)
) STRICT, WITHOUT ROWID;
