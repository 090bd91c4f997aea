CREATE TABLE arrivals (
    hour         INTEGER NOT NULL PRIMARY KEY,
    arrivals     INTEGER NOT NULL,
    burst        INTEGER NOT NULL,
    busy_seconds INTEGER NOT NULL
) STRICT;
