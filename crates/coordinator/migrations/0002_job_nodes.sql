-- Which nodes a job concerns, so that each party lists its own jobs.
CREATE TABLE job_nodes (
    node BLOB NOT NULL,
    job  BLOB NOT NULL,
    PRIMARY KEY (node, job)
) STRICT, WITHOUT ROWID;
