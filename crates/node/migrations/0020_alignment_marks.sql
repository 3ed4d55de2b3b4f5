-- Of which dataset a job's lists of keys were, by hashes of its name, its place and its content: lists of two datasets have a
-- mark in common where one dataset is the other, or stands for it. A job of before has none, and may be of any.
CREATE TABLE alignment_marks (
    job  BLOB NOT NULL REFERENCES alignments (job) ON DELETE CASCADE,
    mark BLOB NOT NULL,
    PRIMARY KEY (job, mark)
) STRICT, WITHOUT ROWID;
