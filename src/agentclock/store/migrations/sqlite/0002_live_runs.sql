-- Agent runs that outlive their worker, wait for people, and can be watched. Older code goes on working: whatever it
-- does not name is nullable or has a default.

ALTER TABLE {prefix}schedules ADD COLUMN idle_timeout_seconds INTEGER;
ALTER TABLE {prefix}schedules ADD COLUMN approval_timeout_seconds INTEGER DEFAULT 86400;
ALTER TABLE {prefix}schedules ADD COLUMN approval_timeout_action TEXT NOT NULL DEFAULT 'cancel';
ALTER TABLE {prefix}schedules ADD COLUMN on_lost TEXT;
ALTER TABLE {prefix}schedules ADD COLUMN provenance TEXT;

ALTER TABLE {prefix}runs ADD COLUMN instruction TEXT;
ALTER TABLE {prefix}runs ADD COLUMN attempt_started_at INTEGER;
ALTER TABLE {prefix}runs ADD COLUMN paused_at INTEGER;
ALTER TABLE {prefix}runs ADD COLUMN review_at INTEGER;
ALTER TABLE {prefix}runs ADD COLUMN approval_due_at INTEGER;

-- Who paused before there were reviews is due for one.
CREATE INDEX {prefix}runs_paused ON {prefix}runs (coalesce(review_at, created_at)) WHERE status = 'paused';

ALTER TABLE {prefix}attempts ADD COLUMN model TEXT;
ALTER TABLE {prefix}attempts ADD COLUMN input_tokens INTEGER;
ALTER TABLE {prefix}attempts ADD COLUMN output_tokens INTEGER;
ALTER TABLE {prefix}attempts ADD COLUMN total_tokens INTEGER;
ALTER TABLE {prefix}attempts ADD COLUMN cost REAL;

CREATE TABLE {prefix}run_events (
    run_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    type TEXT NOT NULL,
    data TEXT,
    source_index INTEGER,
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
