DROP TABLE task_places;
DROP TABLE task_outcomes;
-- The older schema knows neither other conditions nor groups: what it cannot hold is let go.
DELETE FROM dependencies WHERE condition <> 'completed' OR group_label IS NOT NULL;
DROP INDEX dependencies_groups;
DROP INDEX dependencies_open;
ALTER TABLE dependencies DROP CONSTRAINT dependencies_task_id_depends_on_task_id_condition_key;
ALTER TABLE dependencies ADD UNIQUE (task_id, depends_on_task_id);
ALTER TABLE dependencies DROP COLUMN condition, DROP COLUMN group_label, DROP COLUMN is_satisfied;
UPDATE tasks SET waits_for = (SELECT count(*) FROM dependencies d JOIN tasks n ON n.id = d.depends_on_task_id
    WHERE d.task_id = tasks.id AND d.dependency_type = 'hard' AND n.status <> 'completed');
