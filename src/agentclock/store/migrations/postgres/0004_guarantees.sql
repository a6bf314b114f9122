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
