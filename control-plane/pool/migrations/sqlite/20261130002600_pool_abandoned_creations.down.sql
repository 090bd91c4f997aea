DROP INDEX machines_counting;
ALTER TABLE machines DROP COLUMN counts_until;
