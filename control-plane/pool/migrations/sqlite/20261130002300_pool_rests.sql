-- Until when a machine that was refused is not asked for again, and how often that was in a row.
ALTER TABLE machines ADD COLUMN rests_until TEXT;
ALTER TABLE machines ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;
-- Whether a worker has had the volume, or what it is a copy of. Of those there are so far nobody can say.
ALTER TABLE volumes ADD COLUMN is_used INTEGER NOT NULL DEFAULT 1;
