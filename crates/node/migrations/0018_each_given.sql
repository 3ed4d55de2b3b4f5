-- What each party has given, where not all have given alike, stands at the end of each job's state. In jobs of before all had.
UPDATE jobs SET state = CAST(state || x'0000000000000000' AS BLOB);
