ALTER TABLE outbox ADD COLUMN position INTEGER;
CREATE UNIQUE INDEX outbox_position ON outbox (position) WHERE position IS NOT NULL;
CREATE INDEX outbox_unplaced ON outbox (seq) WHERE position IS NULL;

CREATE TABLE outbox_places (
    id         INTEGER NOT NULL PRIMARY KEY,
    last_place INTEGER NOT NULL
) STRICT;
INSERT INTO outbox_places (id, last_place) VALUES (1, 0);
