CREATE TABLE arrivals (
    hour         BIGINT NOT NULL PRIMARY KEY,
    arrivals     BIGINT NOT NULL,
    burst        BIGINT NOT NULL,
    busy_seconds BIGINT NOT NULL
);
