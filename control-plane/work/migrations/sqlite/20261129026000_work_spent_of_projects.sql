-- What the tasks of a project have used, summed whenever projects are listed (row RU-34).
CREATE INDEX tasks_spent ON tasks (tenant_id, project, spent_tokens, spent_micros)
    WHERE spent_tokens > 0 OR spent_micros > 0;
