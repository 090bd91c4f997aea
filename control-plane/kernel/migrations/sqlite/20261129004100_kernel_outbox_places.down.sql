DROP TABLE outbox_places;
DROP INDEX outbox_unplaced;
DROP INDEX outbox_position;
ALTER TABLE outbox DROP COLUMN position;
