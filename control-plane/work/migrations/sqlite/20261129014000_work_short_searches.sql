-- Which tasks have which one or two characters: those with three in a row that begin so. Two more are put behind each
-- text, so that three begin at every character of it. The terms of the index are read in their order.
CREATE VIRTUAL TABLE task_search_terms USING fts5vocab (task_search, instance);
DROP TRIGGER task_search_insert;
DROP TRIGGER task_search_update;
CREATE TRIGGER task_search_insert AFTER INSERT ON tasks BEGIN
    INSERT INTO task_numbers_by_trigger (task_id) VALUES (new.id);
    INSERT INTO task_search (rowid, title, description)
        SELECT number, new.folded_title || char(1, 1), new.folded_description || char(1, 1)
        FROM task_numbers_by_trigger WHERE task_id = new.id;
END;
CREATE TRIGGER task_search_update AFTER UPDATE OF folded_title, folded_description ON tasks
    WHEN new.folded_title <> old.folded_title OR new.folded_description <> old.folded_description BEGIN
    UPDATE task_search SET title = new.folded_title || char(1, 1), description = new.folded_description || char(1, 1)
        WHERE rowid = (SELECT number FROM task_numbers_by_trigger WHERE task_id = new.id);
END;
INSERT INTO task_search (task_search) VALUES ('delete-all');
INSERT INTO task_search (rowid, title, description)
    SELECT x.number, t.folded_title || char(1, 1), t.folded_description || char(1, 1)
    FROM task_numbers_by_trigger x JOIN tasks t ON t.id = x.task_id;
