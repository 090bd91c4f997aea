DROP INDEX tasks_claimable;
