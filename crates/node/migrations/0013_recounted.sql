-- What jobs took that the log shows and this database did not know, because it is from before them. A job whose admission is
-- not to be had counts under each contract that its record names.
CREATE TABLE recounted (
    job           BLOB NOT NULL,
    contract      BLOB NOT NULL,
    scored_rows   INTEGER NOT NULL,
    dataset       BLOB,
    epsilon_micro INTEGER NOT NULL,
    delta_femto   INTEGER NOT NULL,
    question      BLOB,
    PRIMARY KEY (job, contract)
) STRICT, WITHOUT ROWID;
CREATE INDEX recounted_contract ON recounted (contract);
