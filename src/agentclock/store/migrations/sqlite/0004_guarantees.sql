-- What was due and when, who changed it, and fires of the past on request. Older code goes on working: what it does not
-- name is nullable or has a default.

ALTER TABLE {prefix}schedules ADD COLUMN catch_up_limit INTEGER NOT NULL DEFAULT 100;
ALTER TABLE {prefix}schedules ADD COLUMN catch_up_stagger_seconds INTEGER NOT NULL DEFAULT 1;
ALTER TABLE {prefix}schedules ADD COLUMN ping_url TEXT;

-- `body` is the schedule's row as JSON, as that version left it.
CREATE TABLE {prefix}schedule_revisions (
    schedule_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    changed_by TEXT,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (schedule_id, version)
) WITHOUT ROWID;

CREATE TABLE {prefix}backfills (
    id TEXT PRIMARY KEY,
    schedule_id TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    until_at INTEGER NOT NULL,
    existing TEXT NOT NULL,
    concurrency INTEGER NOT NULL,
    fires INTEGER NOT NULL,
    made_by TEXT,
    created_at INTEGER NOT NULL,
    cancelled_at INTEGER
);

CREATE INDEX {prefix}backfills_of ON {prefix}backfills (schedule_id, created_at, id);
