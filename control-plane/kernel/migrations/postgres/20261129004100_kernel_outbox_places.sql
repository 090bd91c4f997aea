ALTER TABLE outbox ADD COLUMN position BIGINT;
CREATE UNIQUE INDEX outbox_position ON outbox (position) WHERE position IS NOT NULL;
CREATE INDEX outbox_unplaced ON outbox (seq) WHERE position IS NULL;

CREATE TABLE outbox_places (
    id         INTEGER NOT NULL PRIMARY KEY,
    last_place BIGINT NOT NULL
);
INSERT INTO outbox_places (id, last_place) VALUES (1, 0);
