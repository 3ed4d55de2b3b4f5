-- What parties have reported of their links stands at the end of each job's value. Of jobs of before nobody has reported any.
UPDATE jobs SET value = CAST(value || x'0000000000000000' AS BLOB);
