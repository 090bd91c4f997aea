DROP TABLE cost_ledger;
ALTER TABLE volumes DROP COLUMN accrued_until;
ALTER TABLE volumes DROP COLUMN rate;
ALTER TABLE machines DROP COLUMN accrued_until;
ALTER TABLE machines DROP COLUMN asleep_rate;
ALTER TABLE machines DROP COLUMN awake_rate;
