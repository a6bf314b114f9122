-- Agent runs that outlive their worker, wait for people, and can be watched. Older code goes on working: whatever it
-- does not name is nullable or has a default (a constant one, so that no table is written anew).
ALTER TABLE {prefix}schedules
    ADD COLUMN idle_timeout_seconds bigint,
    ADD COLUMN approval_timeout_seconds bigint DEFAULT 86400,
    ADD COLUMN approval_timeout_action text NOT NULL DEFAULT 'cancel',
    ADD COLUMN on_lost text,
    ADD COLUMN provenance text;

ALTER TABLE {prefix}runs
    ADD COLUMN instruction text,
    ADD COLUMN attempt_started_at timestamptz,
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN review_at timestamptz,
    ADD COLUMN approval_due_at timestamptz;

-- Who paused before there were reviews is due for one.
CREATE INDEX runs_paused ON {prefix}runs (coalesce(review_at, created_at)) WHERE status = 'paused';

ALTER TABLE {prefix}attempts
    ADD COLUMN model text,
    ADD COLUMN input_tokens bigint,
    ADD COLUMN output_tokens bigint,
    ADD COLUMN total_tokens bigint,
    ADD COLUMN cost double precision;

-- Written once, read in order, and deleted with its run or from its beginning.
CREATE TABLE {prefix}run_events (
    run_id uuid NOT NULL,
    seq bigint NOT NULL,
    attempt bigint NOT NULL,
    at timestamptz NOT NULL,
    type text NOT NULL,
    data text,
    source_index bigint,
    PRIMARY KEY (run_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
