CREATE TABLE tenants (
    id         BLOB NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id          BLOB NOT NULL PRIMARY KEY,
    tenant_id   BLOB NOT NULL REFERENCES tenants (id),
    hash        BLOB NOT NULL UNIQUE,
    permissions TEXT NOT NULL,
    bootstrap   INTEGER NOT NULL,
    created_at  TEXT NOT NULL,
    revoked_at  TEXT
) STRICT;
