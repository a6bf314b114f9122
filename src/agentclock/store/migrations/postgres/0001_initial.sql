-- Every UPDATE of a schedule's next_fire_at writes all indexes of `schedules` anew: keep them few.
-- Text that carries JSON stays text: jsonb refuses \u0000, which agents do send. `folded_name` is the name without
-- regard to case, whatever the database's locale knows about that.
CREATE TABLE {prefix}schedules (
    id text PRIMARY KEY,
    name text NOT NULL,
    description text,
    user_id text,
    target text NOT NULL,
    method text NOT NULL,
    endpoint text NOT NULL,
    payload text,
    cron_expr text,
    run_at timestamptz,
    interval_seconds bigint,
    anchor_at timestamptz,
    timezone text NOT NULL,
    start_at timestamptz,
    end_at timestamptz,
    max_runs bigint,
    jitter_seconds bigint NOT NULL,
    overlap text NOT NULL,
    catch_up text NOT NULL,
    catch_up_window_seconds bigint NOT NULL,
    misfire_grace_seconds bigint NOT NULL,
    timeout_seconds bigint NOT NULL,
    max_retries bigint NOT NULL,
    retry_delay_seconds bigint NOT NULL,
    retry_backoff text NOT NULL,
    retry_max_delay_seconds bigint NOT NULL,
    tags text NOT NULL,
    enabled boolean NOT NULL,
    disabled_reason text,
    managed_by text,
    next_fire_at timestamptz,
    last_fire_at timestamptz,
    run_count bigint NOT NULL,
    timetable_since timestamptz NOT NULL,
    zone_data_version text,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz,
    deleted_at timestamptz,
    folded_name text NOT NULL DEFAULT ''
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- No owner counts as one owner. Also finds the schedules of an owner.
CREATE UNIQUE INDEX schedules_name ON {prefix}schedules (coalesce(user_id, ''), name) WHERE deleted_at IS NULL;

CREATE INDEX schedules_due ON {prefix}schedules (next_fire_at) WHERE enabled AND deleted_at IS NULL;

CREATE INDEX schedules_newest ON {prefix}schedules (created_at, id) WHERE deleted_at IS NULL;

CREATE INDEX schedules_deleted ON {prefix}schedules (deleted_at) WHERE deleted_at IS NOT NULL;

-- The id of a run starts with its fire time: the primary key orders history and bounds retention.
CREATE TABLE {prefix}runs (
    id uuid PRIMARY KEY,
    schedule_id text NOT NULL,
    user_id text,
    cause text NOT NULL,
    fire_at timestamptz NOT NULL,
    last_fire_at timestamptz,
    fire_count bigint NOT NULL DEFAULT 1,
    status text NOT NULL,
    reason text,
    attempt bigint NOT NULL DEFAULT 0,
    refusals bigint NOT NULL DEFAULT 0,
    available_at timestamptz,
    worker_id text,
    worker text,
    fence bigint NOT NULL DEFAULT 0,
    cancel_requested boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    completed_at timestamptz,
    status_code bigint,
    agent_run_id text,
    session_id text,
    error text,
    input text,
    output text,
    requirements text,
    metrics text
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX runs_queue ON {prefix}runs (available_at, id) WHERE status = 'pending' AND available_at IS NOT NULL;

CREATE INDEX runs_waiting ON {prefix}runs (schedule_id, id) WHERE status = 'pending' AND available_at IS NULL;

CREATE INDEX runs_live ON {prefix}runs (worker_id, id) WHERE status = 'running';

CREATE INDEX runs_active ON {prefix}runs (schedule_id) WHERE status IN ('pending', 'running', 'paused');

CREATE INDEX runs_history ON {prefix}runs (schedule_id, id);

CREATE INDEX runs_owner ON {prefix}runs (user_id, id) WHERE user_id IS NOT NULL;

-- What people look for when something went wrong; runs that went well are found by the primary key.
CREATE INDEX runs_unsuccessful ON {prefix}runs (id)
    WHERE status IN ('failed', 'timeout', 'lost', 'cancelled', 'skipped', 'missed', 'paused');

CREATE INDEX runs_unsuccessful_of ON {prefix}runs (schedule_id, id)
    WHERE status IN ('failed', 'timeout', 'lost', 'cancelled', 'skipped', 'missed', 'paused');

CREATE TABLE {prefix}attempts (
    run_id uuid NOT NULL,
    number bigint NOT NULL,
    status text NOT NULL,
    worker text,
    started_at timestamptz NOT NULL,
    completed_at timestamptz,
    status_code bigint,
    agent_run_id text,
    error text,
    PRIMARY KEY (run_id, number)
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02);

-- One small row a worker, updated at every heartbeat and never indexed by what changes.
CREATE TABLE {prefix}workers (
    id text PRIMARY KEY,
    name text NOT NULL,
    app_version text NOT NULL,
    started_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    retired_at timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
