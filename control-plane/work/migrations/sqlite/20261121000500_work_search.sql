-- Both in lower case as the program folds it, which knows more letters than the databases do.
ALTER TABLE tasks ADD COLUMN folded_title TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN folded_description TEXT NOT NULL DEFAULT '';
UPDATE tasks SET folded_title = lower(title), folded_description = lower(description);
