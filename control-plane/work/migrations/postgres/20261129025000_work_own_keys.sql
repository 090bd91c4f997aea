-- Tasks in hand with a key of Bifrost's own: of those with the same one, one may be. They are looked for whenever a task
-- is given to somebody, and are few among all that are in hand.
CREATE INDEX tasks_own_keys ON tasks (tenant_id)
    WHERE status IN ('assigned', 'in_progress')
      AND (CAST(task_keys AS TEXT) LIKE '%"schedule:%' OR CAST(task_keys AS TEXT) LIKE '%"agent-session:%');
