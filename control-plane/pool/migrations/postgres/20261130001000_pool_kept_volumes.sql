ALTER TABLE volumes ADD COLUMN kept_from UUID;
ALTER TABLE volumes ADD COLUMN kept_work TEXT;
