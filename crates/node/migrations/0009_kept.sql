-- What a party will attest of the attempt that runs, whether it heard the verdict, and whether it owes an attestation of a
-- job that has ended stand at the end of each job's state. Jobs of before have none of it.
UPDATE jobs SET state = CAST(state || x'000000' AS BLOB);

-- Jobs that have ended here, the last attempt well, without a record of it being attested.
ALTER TABLE jobs ADD COLUMN owed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_owed ON jobs (seen_at) WHERE owed = 1;
