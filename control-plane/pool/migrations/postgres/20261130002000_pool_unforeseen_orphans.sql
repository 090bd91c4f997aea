-- Whether an orphan may be what a lost or newer database knows. Of those seen so far nobody can say.
ALTER TABLE orphans ADD COLUMN needs_approval BOOLEAN NOT NULL DEFAULT true;
