-- What was due and when, who changed it, and fires of the past on request. Older code goes on working: what it does not
-- name is nullable or has a default (a constant one, so that no table is written anew).
ALTER TABLE {prefix}schedules
    ADD COLUMN catch_up_limit bigint NOT NULL DEFAULT 100,
    ADD COLUMN catch_up_stagger_seconds bigint NOT NULL DEFAULT 1,
    ADD COLUMN ping_url text;

-- `body` is the schedule's row as JSON, as that version left it.
CREATE TABLE {prefix}schedule_revisions (
    schedule_id text NOT NULL,
    version bigint NOT NULL,
    at timestamptz NOT NULL,
    changed_by text,
    kind text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (schedule_id, version)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE TABLE {prefix}backfills (
    id text PRIMARY KEY,
    schedule_id text NOT NULL,
    from_at timestamptz NOT NULL,
    until_at timestamptz NOT NULL,
    existing text NOT NULL,
    concurrency bigint NOT NULL,
    fires bigint NOT NULL,
    made_by text,
    created_at timestamptz NOT NULL,
    cancelled_at timestamptz
);

CREATE INDEX backfills_of ON {prefix}backfills (schedule_id, created_at, id);

-- Prunes what later revisions have replaced.
CREATE INDEX schedule_revisions_later ON {prefix}schedule_revisions (at) WHERE kind <> 'created';

-- As before, with the line that a run stands in: those that go, those that wait, and the same for backfills. Neither is
-- counted nor found by looking through the other.
DROP INDEX {prefix}runs_active;
CREATE INDEX runs_active ON {prefix}runs (
    schedule_id,
    (CASE WHEN cause = 'backfill' THEN 2 ELSE 0 END
        + CASE WHEN status = 'pending' AND available_at IS NULL THEN 1 ELSE 0 END),
    id
) WHERE status IN ('pending', 'running', 'paused');

-- What was changed lately. A schedule that nobody ever changed has no entry, so that its fires do not write one anew.
CREATE INDEX schedules_changed ON {prefix}schedules (updated_at) WHERE updated_at IS NOT NULL;
