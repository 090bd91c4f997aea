DROP INDEX tasks_occurrence;
ALTER TABLE tasks DROP COLUMN occurrence_at;
ALTER TABLE tasks DROP COLUMN schedule_id;
DROP TABLE schedules;
