DROP TRIGGER tasks_status_of_changed;
DROP TRIGGER tasks_status_of_new;
DROP INDEX tasks_project;
