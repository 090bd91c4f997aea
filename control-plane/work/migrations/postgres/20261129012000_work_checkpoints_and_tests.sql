-- What machines have saved of workspaces (row FLY-034), as they tell of it; the bytes are on their volumes.
CREATE TABLE checkpoints (
    id           UUID NOT NULL PRIMARY KEY,
    tenant_id    UUID NOT NULL,
    task_id      UUID NOT NULL,
    execution_id UUID NOT NULL,
    machine_id   UUID NOT NULL,
    repository   TEXT NOT NULL,
    commit_sha   TEXT NOT NULL,
    saved_at     TIMESTAMPTZ NOT NULL,
    files        BIGINT NOT NULL,
    deleted      BIGINT NOT NULL,
    stored_bytes BIGINT NOT NULL,
    unpushed     JSONB NOT NULL,
    changes      JSONB NOT NULL,
    pinned       BOOLEAN NOT NULL,
    pin_heard    BOOLEAN NOT NULL
);
CREATE INDEX checkpoints_tenant ON checkpoints (tenant_id, id);
CREATE INDEX checkpoints_task ON checkpoints (task_id, id);
CREATE INDEX checkpoints_machine ON checkpoints (machine_id, id);

-- The only machine that can take a task: it has the checkpoint that the task begins from.
ALTER TABLE tasks ADD COLUMN machine_id UUID;

-- What came of an execution's tests (row RU-10).
ALTER TABLE executions ADD COLUMN tests JSONB;
