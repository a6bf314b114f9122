-- Instants are epoch milliseconds (UTC), JSON is text. States stand as literals in the partial indexes and in every
-- query, else the planner cannot match them. No foreign keys: deleting is a tombstone and a later purge.

CREATE TABLE {prefix}schedules (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    user_id TEXT,
    target TEXT NOT NULL,
    method TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    payload TEXT,
    cron_expr TEXT,
    run_at INTEGER,
    interval_seconds INTEGER,
    anchor_at INTEGER,
    timezone TEXT NOT NULL,
    start_at INTEGER,
    end_at INTEGER,
    max_runs INTEGER,
    jitter_seconds INTEGER NOT NULL,
    overlap TEXT NOT NULL,
    catch_up TEXT NOT NULL,
    catch_up_window_seconds INTEGER NOT NULL,
    misfire_grace_seconds INTEGER NOT NULL,
    timeout_seconds INTEGER NOT NULL,
    max_retries INTEGER NOT NULL,
    retry_delay_seconds INTEGER NOT NULL,
    retry_backoff TEXT NOT NULL,
    retry_max_delay_seconds INTEGER NOT NULL,
    tags TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    disabled_reason TEXT,
    managed_by TEXT,
    next_fire_at INTEGER,
    last_fire_at INTEGER,
    run_count INTEGER NOT NULL,
    timetable_since INTEGER NOT NULL,
    zone_data_version TEXT,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER,
    deleted_at INTEGER
);

CREATE UNIQUE INDEX {prefix}schedules_name ON {prefix}schedules (coalesce(user_id, ''), name)
    WHERE deleted_at IS NULL;
CREATE INDEX {prefix}schedules_due ON {prefix}schedules (next_fire_at) WHERE enabled AND deleted_at IS NULL;
CREATE INDEX {prefix}schedules_list ON {prefix}schedules (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX {prefix}schedules_deleted ON {prefix}schedules (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE {prefix}runs (
    id TEXT PRIMARY KEY NOT NULL,
    schedule_id TEXT NOT NULL,
    user_id TEXT,
    cause TEXT NOT NULL,
    fire_at INTEGER NOT NULL,
    last_fire_at INTEGER,
    fire_count INTEGER NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    attempt INTEGER NOT NULL,
    refusals INTEGER NOT NULL,
    available_at INTEGER,
    worker_id TEXT,
    worker TEXT,
    fence INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    completed_at INTEGER,
    status_code INTEGER,
    agent_run_id TEXT,
    session_id TEXT,
    error TEXT,
    input TEXT,
    output TEXT,
    requirements TEXT,
    metrics TEXT
);

CREATE INDEX {prefix}runs_history ON {prefix}runs (schedule_id, id);
CREATE INDEX {prefix}runs_queue ON {prefix}runs (available_at, id)
    WHERE status = 'pending' AND available_at IS NOT NULL;
CREATE INDEX {prefix}runs_waiting ON {prefix}runs (schedule_id, id) WHERE status = 'pending' AND available_at IS NULL;
CREATE INDEX {prefix}runs_live ON {prefix}runs (worker_id, id) WHERE status = 'running';
CREATE INDEX {prefix}runs_active ON {prefix}runs (schedule_id) WHERE status IN ('pending', 'running', 'paused');
CREATE INDEX {prefix}runs_owner ON {prefix}runs (user_id, id) WHERE user_id IS NOT NULL;

-- What people look for when something went wrong; runs that went well are found by the primary key.
CREATE INDEX {prefix}runs_unsuccessful ON {prefix}runs (id)
    WHERE status IN ('failed', 'timeout', 'lost', 'cancelled', 'skipped', 'missed', 'paused');
CREATE INDEX {prefix}runs_unsuccessful_of ON {prefix}runs (schedule_id, id)
    WHERE status IN ('failed', 'timeout', 'lost', 'cancelled', 'skipped', 'missed', 'paused');

CREATE TABLE {prefix}attempts (
    run_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    status TEXT NOT NULL,
    worker TEXT,
    started_at INTEGER NOT NULL,
    completed_at INTEGER,
    status_code INTEGER,
    agent_run_id TEXT,
    error TEXT,
    PRIMARY KEY (run_id, number)
) WITHOUT ROWID;

CREATE TABLE {prefix}workers (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    app_version TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    retired_at INTEGER
) WITHOUT ROWID;
