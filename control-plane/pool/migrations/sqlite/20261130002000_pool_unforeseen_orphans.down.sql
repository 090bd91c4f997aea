ALTER TABLE orphans DROP COLUMN needs_approval;
