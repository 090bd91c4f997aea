-- Who of several control planes runs the background work. `epoch` grows with each change of the leader, and is
-- part of a key: a transaction of the leader locks it FOR KEY SHARE, which lets the lease be renewed and holds up
-- only a change of the leader.
CREATE TABLE leadership (
    name     TEXT NOT NULL PRIMARY KEY,
    epoch    BIGINT NOT NULL,
    holder   UUID NOT NULL,
    until_us BIGINT NOT NULL,
    UNIQUE (name, epoch)
);
