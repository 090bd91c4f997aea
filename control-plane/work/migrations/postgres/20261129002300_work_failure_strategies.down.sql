DROP TABLE failure_strategies;
