-- local: import_runs
INSERT INTO {prefix}runs (
    id, schedule_id, user_id, cause, fire_at, fire_count, status, attempt, refusals, fence, cancel_requested,
    created_at, started_at, completed_at, status_code, agent_run_id, session_id, error, input, output, metrics
)
SELECT * FROM unnest(
    :id::uuid[], :schedule_id::text[], :user_id::text[], :cause::text[], :fire_at::timestamptz[],
    :fire_count::bigint[], :status::text[], :attempt::bigint[], :refusals::bigint[], :fence::bigint[],
    :cancel_requested::boolean[], :created_at::timestamptz[], :started_at::timestamptz[],
    :completed_at::timestamptz[], :status_code::bigint[], :agent_run_id::text[], :session_id::text[],
    :error::text[], :input::text[], :output::text[], :metrics::text[]
)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- local: import_attempts
INSERT INTO {prefix}attempts (
    run_id, number, status, worker, started_at, completed_at, status_code, agent_run_id, error
)
SELECT * FROM unnest(
    :run_id::uuid[], :number::bigint[], :status::text[], :worker::text[], :started_at::timestamptz[],
    :completed_at::timestamptz[], :status_code::bigint[], :agent_run_id::text[], :error::text[]
)
ON CONFLICT (run_id, number) DO NOTHING;
