ALTER TABLE machines ADD COLUMN awake_rate INTEGER NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN asleep_rate INTEGER NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN accrued_until TEXT;
ALTER TABLE volumes ADD COLUMN rate INTEGER NOT NULL DEFAULT 0;
ALTER TABLE volumes ADD COLUMN accrued_until TEXT;

CREATE TABLE cost_ledger (
    subject_id    BLOB NOT NULL,
    machine_id    BLOB NOT NULL,
    generation    INTEGER NOT NULL,
    day           TEXT NOT NULL,
    awake_micros  INTEGER NOT NULL,
    asleep_micros INTEGER NOT NULL,
    awake_rate    INTEGER NOT NULL,
    asleep_rate   INTEGER NOT NULL,
    cost_micros   INTEGER NOT NULL,
    PRIMARY KEY (subject_id, generation, day)
) STRICT;
CREATE INDEX cost_ledger_day ON cost_ledger (day);
