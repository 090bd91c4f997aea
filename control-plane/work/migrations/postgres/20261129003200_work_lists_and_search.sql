-- Lists in their order, without a look at what they leave out.
DROP INDEX tasks_status;
CREATE INDEX tasks_status ON tasks (status, tenant_id, priority DESC, created_at, id);
CREATE INDEX tasks_ready ON tasks (tenant_id, priority DESC, created_at, id) WHERE status = 'ready' AND waits_for = 0;
CREATE INDEX tasks_blocked ON tasks (tenant_id, priority DESC, created_at, id) WHERE waits_for > 0;
-- All that the critical path has to know of a task.
CREATE INDEX tasks_open ON tasks (tenant_id, id, effort_estimate)
    WHERE status IN ('ready', 'assigned', 'in_progress', 'failed');

-- The one, two and three characters in a row that a text has. Plain Postgres, so that no extension is needed, and
-- dear, so that the planner takes the index rather than make them anew for every row.
CREATE FUNCTION bifrost_grams(TEXT) RETURNS TEXT[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10000 AS $$
    SELECT coalesce(array_agg(DISTINCT gram), '{}') FROM (
        SELECT unnest(ARRAY[c, c || lead(c, 1) OVER w, c || lead(c, 1) OVER w || lead(c, 2) OVER w]) AS gram
        FROM unnest(string_to_array($1, NULL)) WITH ORDINALITY AS characters (c, n)
        WINDOW w AS (ORDER BY n)
    ) grams WHERE gram IS NOT NULL
$$;

-- Apart from the tasks, whose rows are written anew with every change of status, which would make the grams anew too.
CREATE TABLE task_texts (
    task_id     UUID NOT NULL PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
    tenant_id   UUID NOT NULL,
    title       TEXT NOT NULL,
    description TEXT NOT NULL
);
INSERT INTO task_texts SELECT id, tenant_id, folded_title, folded_description FROM tasks;
-- Texts that are nothing but what is looked for; a prefix, since a description may be long.
CREATE INDEX task_texts_titles ON task_texts (tenant_id, substr(title, 1, 64));
CREATE INDEX task_texts_descriptions ON task_texts (tenant_id, substr(description, 1, 64)) WHERE description <> '';
-- What is not in the index proper yet has to be read through by each search, so it is kept short.
CREATE INDEX task_texts_title_grams ON task_texts USING gin (bifrost_grams(title)) WITH (gin_pending_list_limit = 256);
CREATE INDEX task_texts_description_grams ON task_texts USING gin (bifrost_grams(description))
    WITH (gin_pending_list_limit = 256);

CREATE FUNCTION bifrost_task_texts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO task_texts VALUES (NEW.id, NEW.tenant_id, NEW.folded_title, NEW.folded_description)
        ON CONFLICT (task_id) DO UPDATE SET title = NEW.folded_title, description = NEW.folded_description;
    RETURN NULL;
END
$$;
CREATE TRIGGER task_texts_insert AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION bifrost_task_texts();
CREATE TRIGGER task_texts_update AFTER UPDATE OF folded_title, folded_description ON tasks FOR EACH ROW
    WHEN (NEW.folded_title <> OLD.folded_title OR NEW.folded_description <> OLD.folded_description)
    EXECUTE FUNCTION bifrost_task_texts();
