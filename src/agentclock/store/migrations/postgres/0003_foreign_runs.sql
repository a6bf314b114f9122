-- Runs that other software made and keeps its own books of here, as it tells them. The engine never looks at them.
CREATE TABLE {prefix}foreign_runs (
    id text PRIMARY KEY,
    schedule_id text NOT NULL,
    created_at timestamptz NOT NULL,
    completed_at timestamptz,
    body text NOT NULL
);

CREATE INDEX foreign_runs_of ON {prefix}foreign_runs (schedule_id, created_at, id);
