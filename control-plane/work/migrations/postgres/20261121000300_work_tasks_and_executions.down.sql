DROP TABLE executions;
DROP TABLE tasks;
