-- How often an orphan could not be destroyed, and when that is tried next.
ALTER TABLE orphans ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orphans ADD COLUMN next_try_at TIMESTAMPTZ;
