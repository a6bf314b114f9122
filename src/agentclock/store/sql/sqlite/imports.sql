-- local: import_run
INSERT INTO {prefix}runs (
    id, schedule_id, user_id, cause, fire_at, fire_count, status, attempt, refusals, fence, cancel_requested,
    created_at, started_at, completed_at, status_code, agent_run_id, session_id, error, input, output, metrics
) VALUES (
    :id, :schedule_id, :user_id, :cause, :fire_at, :fire_count, :status, :attempt, :refusals, :fence,
    :cancel_requested, :created_at, :started_at, :completed_at, :status_code, :agent_run_id, :session_id, :error,
    :input, :output, :metrics
) ON CONFLICT (id) DO NOTHING;

-- local: import_attempt
INSERT INTO {prefix}attempts (
    run_id, number, status, worker, started_at, completed_at, status_code, agent_run_id, error
) VALUES (
    :run_id, :number, :status, :worker, :started_at, :completed_at, :status_code, :agent_run_id, :error
) ON CONFLICT (run_id, number) DO NOTHING;
