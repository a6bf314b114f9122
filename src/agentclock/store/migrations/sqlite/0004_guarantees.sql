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

-- Prunes what later revisions have replaced.
CREATE INDEX {prefix}schedule_revisions_later ON {prefix}schedule_revisions (at) WHERE kind <> 'created';

-- As before, with the line that a run stands in: those that go, those that wait, and the same for backfills. Neither is
-- counted nor found by looking through the other.
DROP INDEX {prefix}runs_active;
CREATE INDEX {prefix}runs_active ON {prefix}runs (
    schedule_id,
    (CASE WHEN cause = 'backfill' THEN 2 ELSE 0 END
        + CASE WHEN status = 'pending' AND available_at IS NULL THEN 1 ELSE 0 END),
    id
) WHERE status IN ('pending', 'running', 'paused');

-- What was changed lately. A schedule that nobody ever changed has no entry, so that its fires do not write one anew.
CREATE INDEX {prefix}schedules_changed ON {prefix}schedules (updated_at) WHERE updated_at IS NOT NULL;
