-- Work that nobody pushed and a machine alone has, as its polls name it: what is no more named is gone.
CREATE TABLE kept_work (
    machine_id   UUID NOT NULL,
    execution_id UUID NOT NULL,
    repository   TEXT NOT NULL,
    reference    TEXT NOT NULL,
    commit_sha   TEXT NOT NULL,
    PRIMARY KEY (machine_id, repository, reference)
);
CREATE INDEX kept_work_execution ON kept_work (execution_id);
CREATE INDEX kept_work_commit ON kept_work (commit_sha);
