DROP INDEX tasks_spent;
