-- Until when an abandoned machine counts against the cap, as its creation may still be under way.
ALTER TABLE machines ADD COLUMN counts_until TIMESTAMPTZ;
CREATE INDEX machines_counting ON machines (counts_until) WHERE counts_until IS NOT NULL;
