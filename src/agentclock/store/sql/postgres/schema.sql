-- name: migrations_exist
SELECT to_regclass('{prefix}migrations') IS NOT NULL;

-- local: schema_exists
SELECT to_regnamespace('{schema}') IS NOT NULL;

-- name: create_migrations
CREATE TABLE IF NOT EXISTS {prefix}migrations (
    version bigint PRIMARY KEY,
    breaking boolean NOT NULL,
    app_version text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL
);

-- name: applied_migrations
SELECT m.version, m.breaking, m.checksum FROM {prefix}migrations m ORDER BY m.version;

-- name: record_migration
INSERT INTO {prefix}migrations (version, breaking, app_version, checksum, applied_at)
VALUES (:version, :breaking, :app_version, :checksum, coalesce(:now::timestamptz, now()));

-- local: migration_lock
SELECT pg_advisory_xact_lock(:key);

-- local: server
SELECT current_setting('server_version'), current_setting('server_version_num')::int, pg_is_in_recovery(),
    coalesce(:now::timestamptz, clock_timestamp());

-- local: oldest_snapshot_seconds
-- While one is open, dead rows behind the queue cannot be cleared away and claims get slower.
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0)::bigint
FROM pg_stat_activity a WHERE a.backend_xmin IS NOT NULL AND a.datname = current_database();
