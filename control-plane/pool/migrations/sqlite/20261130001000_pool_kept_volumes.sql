ALTER TABLE volumes ADD COLUMN kept_from BLOB;
ALTER TABLE volumes ADD COLUMN kept_work TEXT;
