DROP TABLE task_metadata;
