-- How often a released volume could not be destroyed, why, and when that is tried next.
ALTER TABLE volumes ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE volumes ADD COLUMN error TEXT;
ALTER TABLE volumes ADD COLUMN next_try_at TIMESTAMPTZ;
