ALTER TABLE tasks DROP COLUMN folded_title;
ALTER TABLE tasks DROP COLUMN folded_description;
