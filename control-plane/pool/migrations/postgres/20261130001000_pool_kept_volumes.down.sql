ALTER TABLE volumes DROP COLUMN kept_work;
ALTER TABLE volumes DROP COLUMN kept_from;
