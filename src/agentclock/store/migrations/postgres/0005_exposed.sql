-- What people and outside clocks did, whom notices tell of it, and what owners may have called. Older code goes on
-- working: what it does not name is nullable.
ALTER TABLE {prefix}runs ADD COLUMN trigger_note text;

-- The run that a key of a trigger stands for.
CREATE TABLE {prefix}trigger_keys (
    schedule_id text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    run_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (schedule_id, key)
);

CREATE INDEX trigger_keys_old ON {prefix}trigger_keys (created_at);

-- Append-only: agentclock never changes an entry.
CREATE TABLE {prefix}audit_log (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    action text NOT NULL,
    actor text,
    source text,
    user_id text,
    schedule_id text,
    schedule_name text,
    run_id uuid,
    details text
);

CREATE INDEX audit_log_of_schedule ON {prefix}audit_log (schedule_id, id) WHERE schedule_id IS NOT NULL;
CREATE INDEX audit_log_of_run ON {prefix}audit_log (run_id, id) WHERE run_id IS NOT NULL;
CREATE INDEX audit_log_by_actor ON {prefix}audit_log (actor, id) WHERE actor IS NOT NULL;
CREATE INDEX audit_log_of_user ON {prefix}audit_log (user_id, id) WHERE user_id IS NOT NULL;

CREATE TABLE {prefix}owners (
    user_id text PRIMARY KEY,
    scopes text NOT NULL,
    issued_at timestamptz,
    seen_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_by text
);

CREATE TABLE {prefix}notices (
    id text PRIMARY KEY,
    webhook text NOT NULL,
    kind text NOT NULL,
    created_at timestamptz NOT NULL,
    schedule_id text NOT NULL,
    run_id uuid,
    user_id text,
    data text,
    status text NOT NULL,
    tries bigint NOT NULL,
    next_try_at timestamptz,
    delivered_at timestamptz,
    status_code bigint,
    error text
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX notices_due ON {prefix}notices (next_try_at, id) WHERE status = 'pending';
CREATE INDEX notices_over ON {prefix}notices (created_at) WHERE status <> 'pending';
CREATE INDEX notices_dead ON {prefix}notices (id) WHERE status = 'dead';

-- Runs whose id tells another time than their fire time, by more than what searches by time allow for.
CREATE INDEX runs_late ON {prefix}runs (id) WHERE cause = 'manual' AND created_at - fire_at > interval '24 hours';
