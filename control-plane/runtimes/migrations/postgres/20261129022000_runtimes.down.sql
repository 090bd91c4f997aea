DROP TABLE triggers;
DROP TABLE runtimes;
