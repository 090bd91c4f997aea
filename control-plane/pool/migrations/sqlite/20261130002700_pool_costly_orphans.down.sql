ALTER TABLE orphans DROP COLUMN accrued_until;
ALTER TABLE orphans DROP COLUMN asleep_rate;
ALTER TABLE orphans DROP COLUMN awake_rate;
ALTER TABLE orphans DROP COLUMN subject_id;
ALTER TABLE orphans DROP COLUMN is_awake;
