-- What an orphan costs, under which id that is in the ledger, and until when it is written there; nothing before it is
-- seen the next time.
ALTER TABLE orphans ADD COLUMN is_awake BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE orphans ADD COLUMN subject_id UUID;
ALTER TABLE orphans ADD COLUMN awake_rate BIGINT NOT NULL DEFAULT 0;
ALTER TABLE orphans ADD COLUMN asleep_rate BIGINT NOT NULL DEFAULT 0;
ALTER TABLE orphans ADD COLUMN accrued_until TIMESTAMPTZ;
