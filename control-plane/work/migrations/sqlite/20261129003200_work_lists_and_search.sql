-- Lists in their order, without a look at what they leave out.
DROP INDEX tasks_status;
CREATE INDEX tasks_status ON tasks (status, tenant_id, priority DESC, created_at, id);
CREATE INDEX tasks_ready ON tasks (tenant_id, priority DESC, created_at, id) WHERE status = 'ready' AND waits_for = 0;
CREATE INDEX tasks_blocked ON tasks (tenant_id, priority DESC, created_at, id) WHERE waits_for > 0;
-- All that the critical path has to know of a task.
CREATE INDEX tasks_open ON tasks (tenant_id, id, effort_estimate)
    WHERE status IN ('ready', 'assigned', 'in_progress', 'failed');

-- Texts that are nothing but what is looked for; a prefix, since a description may be long.
CREATE INDEX tasks_titles ON tasks (tenant_id, substr(folded_title, 1, 64));
CREATE INDEX tasks_descriptions ON tasks (tenant_id, substr(folded_description, 1, 64)) WHERE folded_description <> '';

-- Which tasks have which three characters in a row. The index keeps no text of its own, and knows tasks by
-- numbers that stay the same when the database is compacted, as the tables' own do not.
CREATE TABLE task_texts (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id BLOB NOT NULL UNIQUE REFERENCES tasks (id)
) STRICT;
CREATE VIRTUAL TABLE task_search USING fts5 (
    title, description, content = '', contentless_delete = 1, detail = column, tokenize = 'trigram case_sensitive 1'
);
CREATE TRIGGER task_search_insert AFTER INSERT ON tasks BEGIN
    INSERT INTO task_texts (task_id) VALUES (new.id);
    INSERT INTO task_search (rowid, title, description)
        SELECT number, new.folded_title, new.folded_description FROM task_texts WHERE task_id = new.id;
END;
CREATE TRIGGER task_search_update AFTER UPDATE OF folded_title, folded_description ON tasks
    WHEN new.folded_title <> old.folded_title OR new.folded_description <> old.folded_description BEGIN
    UPDATE task_search SET title = new.folded_title, description = new.folded_description
        WHERE rowid = (SELECT number FROM task_texts WHERE task_id = new.id);
END;
CREATE TRIGGER task_search_delete BEFORE DELETE ON tasks BEGIN
    DELETE FROM task_search WHERE rowid = (SELECT number FROM task_texts WHERE task_id = old.id);
    DELETE FROM task_texts WHERE task_id = old.id;
END;
INSERT INTO task_texts (task_id) SELECT id FROM tasks ORDER BY id;
INSERT INTO task_search (rowid, title, description)
    SELECT x.number, t.folded_title, t.folded_description FROM task_texts x JOIN tasks t ON t.id = x.task_id;
