DROP TABLE workers;
DROP TABLE machines;
DROP TABLE volumes;
