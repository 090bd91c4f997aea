ALTER TABLE volumes DROP COLUMN next_try_at;
ALTER TABLE volumes DROP COLUMN error;
ALTER TABLE volumes DROP COLUMN failures;
