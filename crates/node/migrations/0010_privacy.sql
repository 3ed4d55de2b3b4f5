-- What noisy releases have cost, and what was asked.
ALTER TABLE jobs ADD COLUMN dataset BLOB;
ALTER TABLE jobs ADD COLUMN epsilon_micro INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN delta_femto INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN question BLOB;
CREATE INDEX jobs_dataset ON jobs (dataset) WHERE dataset IS NOT NULL;
CREATE INDEX jobs_question ON jobs (question) WHERE question IS NOT NULL;
