-- Who of several control planes runs the background work; only Postgres has several, see there.
CREATE TABLE leadership (
    name     TEXT NOT NULL PRIMARY KEY,
    epoch    INTEGER NOT NULL,
    holder   BLOB NOT NULL,
    until_us INTEGER NOT NULL,
    UNIQUE (name, epoch)
) STRICT;
