-- Sets of rows that exact numbers were of, as sketches under the node's own key, by the dataset's local name; and which jobs
-- asked for them.
CREATE TABLE row_sets (
    dataset    TEXT NOT NULL,
    digest     BLOB NOT NULL,
    subject    TEXT NOT NULL,
    form       BLOB NOT NULL,
    rows       INTEGER NOT NULL,
    change_min INTEGER NOT NULL,
    sketch     BLOB NOT NULL,
    PRIMARY KEY (dataset, digest)
) STRICT;
CREATE INDEX row_sets_near ON row_sets (dataset, subject, rows, digest);

CREATE TABLE row_sets_asked (
    dataset  TEXT NOT NULL,
    digest   BLOB NOT NULL,
    job      BLOB NOT NULL,
    question BLOB NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (dataset, digest, job)
) STRICT;
CREATE INDEX row_sets_asked_job ON row_sets_asked (job);
CREATE INDEX row_sets_asked_question ON row_sets_asked (dataset, question, job);
