ALTER TABLE volumes DROP COLUMN is_used;
ALTER TABLE machines DROP COLUMN refusals;
ALTER TABLE machines DROP COLUMN rests_until;
