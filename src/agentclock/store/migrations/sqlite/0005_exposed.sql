-- What people and outside clocks did, whom notices tell of it, and what owners may have called. Older code goes on
-- working: what it does not name is nullable.

ALTER TABLE {prefix}runs ADD COLUMN trigger_note TEXT;

-- The run that a key of a trigger stands for.
CREATE TABLE {prefix}trigger_keys (
    schedule_id TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    run_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (schedule_id, key)
) WITHOUT ROWID;

CREATE INDEX {prefix}trigger_keys_old ON {prefix}trigger_keys (created_at);

-- Append-only: agentclock never changes an entry.
CREATE TABLE {prefix}audit_log (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    action TEXT NOT NULL,
    actor TEXT,
    source TEXT,
    user_id TEXT,
    schedule_id TEXT,
    schedule_name TEXT,
    run_id TEXT,
    details TEXT
) WITHOUT ROWID;

CREATE INDEX {prefix}audit_log_of_schedule ON {prefix}audit_log (schedule_id, id) WHERE schedule_id IS NOT NULL;
CREATE INDEX {prefix}audit_log_of_run ON {prefix}audit_log (run_id, id) WHERE run_id IS NOT NULL;
CREATE INDEX {prefix}audit_log_by_actor ON {prefix}audit_log (actor, id) WHERE actor IS NOT NULL;
CREATE INDEX {prefix}audit_log_of_user ON {prefix}audit_log (user_id, id) WHERE user_id IS NOT NULL;

CREATE TABLE {prefix}owners (
    user_id TEXT PRIMARY KEY,
    scopes TEXT NOT NULL,
    issued_at INTEGER,
    seen_at INTEGER NOT NULL,
    revoked_at INTEGER,
    revoked_by TEXT
) WITHOUT ROWID;

CREATE TABLE {prefix}notices (
    id TEXT PRIMARY KEY,
    webhook TEXT NOT NULL,
    kind TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    schedule_id TEXT NOT NULL,
    run_id TEXT,
    user_id TEXT,
    data TEXT,
    status TEXT NOT NULL,
    tries INTEGER NOT NULL,
    next_try_at INTEGER,
    delivered_at INTEGER,
    status_code INTEGER,
    error TEXT
);

CREATE INDEX {prefix}notices_due ON {prefix}notices (next_try_at, id) WHERE status = 'pending';
CREATE INDEX {prefix}notices_over ON {prefix}notices (created_at) WHERE status <> 'pending';
CREATE INDEX {prefix}notices_dead ON {prefix}notices (id) WHERE status = 'dead';

-- Triggers by name, of callers who may see the schedules of all owners.
CREATE INDEX {prefix}schedules_called ON {prefix}schedules (name) WHERE deleted_at IS NULL;

-- Runs whose id tells another time than their fire time, by more than what searches by time allow for.
CREATE INDEX {prefix}runs_late ON {prefix}runs (id) WHERE cause = 'manual' AND created_at - fire_at > 60000;
