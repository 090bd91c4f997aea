ALTER TABLE machines ADD COLUMN awake_rate BIGINT NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN asleep_rate BIGINT NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN accrued_until TIMESTAMPTZ;
ALTER TABLE volumes ADD COLUMN rate BIGINT NOT NULL DEFAULT 0;
ALTER TABLE volumes ADD COLUMN accrued_until TIMESTAMPTZ;

CREATE TABLE cost_ledger (
    subject_id    UUID NOT NULL,
    machine_id    UUID NOT NULL,
    generation    INTEGER NOT NULL,
    day           TEXT NOT NULL,
    awake_micros BIGINT NOT NULL,
    asleep_micros BIGINT NOT NULL,
    awake_rate BIGINT NOT NULL,
    asleep_rate BIGINT NOT NULL,
    cost_micros BIGINT NOT NULL,
    PRIMARY KEY (subject_id, generation, day)
);
CREATE INDEX cost_ledger_day ON cost_ledger (day);
