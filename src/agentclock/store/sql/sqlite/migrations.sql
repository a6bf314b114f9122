-- name: create_migrations
CREATE TABLE IF NOT EXISTS {prefix}migrations (
    version INTEGER PRIMARY KEY,
    breaking INTEGER NOT NULL,
    app_version TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
);

-- name: migrations_exist
SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '{prefix}migrations';

-- name: applied_migrations
SELECT version, breaking, checksum FROM {prefix}migrations ORDER BY version;

-- name: record_migration
INSERT INTO {prefix}migrations (version, breaking, app_version, checksum, applied_at)
VALUES (:version, :breaking, :app_version, :checksum, :now);
