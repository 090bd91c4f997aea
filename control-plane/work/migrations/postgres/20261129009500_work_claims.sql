-- What whoever claims without a spec takes next, as the scheduler has `tasks_waiting` for tasks with one.
CREATE INDEX tasks_claimable ON tasks (tenant_id, priority DESC, created_at, id)
    WHERE status = 'ready' AND spec IS NULL AND waits_for = 0 AND parked_until IS NULL;
