-- Closes of periods, each by its end. A close that was begun and is not done goes on at the next start.
CREATE TABLE closes (
    until INTEGER PRIMARY KEY,
    as_of INTEGER NOT NULL,
    done  INTEGER NOT NULL
) STRICT;
