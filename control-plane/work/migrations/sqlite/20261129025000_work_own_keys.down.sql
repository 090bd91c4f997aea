DROP INDEX tasks_own_keys;
