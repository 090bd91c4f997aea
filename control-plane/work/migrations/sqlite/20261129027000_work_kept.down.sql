DROP TABLE kept_work;
