ALTER TABLE orphans DROP COLUMN next_try_at;
ALTER TABLE orphans DROP COLUMN failures;
