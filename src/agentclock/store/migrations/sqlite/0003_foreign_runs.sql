-- Runs that other software made and keeps its own books of here, as it tells them. The engine never looks at them.
CREATE TABLE {prefix}foreign_runs (
    id TEXT PRIMARY KEY,
    schedule_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    completed_at INTEGER,
    body TEXT NOT NULL
);

CREATE INDEX {prefix}foreign_runs_of ON {prefix}foreign_runs (schedule_id, created_at, id);
