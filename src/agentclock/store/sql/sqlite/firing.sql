-- name: due_schedules
SELECT {schedule_columns} FROM {prefix}schedules s
WHERE s.enabled AND s.deleted_at IS NULL AND s.next_fire_at <= :now
ORDER BY s.next_fire_at LIMIT :limit;

-- name: next_due
SELECT min(s.next_fire_at) FROM {prefix}schedules s
WHERE s.enabled AND s.deleted_at IS NULL AND s.next_fire_at IS NOT NULL;

-- name: situations
-- One row a schedule: its active and waiting runs, those that end only when somebody has seen to their agent, and the
-- newest row of its history, backfills left out.
SELECT j.value,
    (SELECT count(*) FROM {prefix}runs r
     WHERE r.schedule_id = j.value AND {lane} < 2 AND r.status IN ('pending', 'running', 'paused')),
    (SELECT count(*) FROM {prefix}runs r
     WHERE r.schedule_id = j.value AND {lane} = 1 AND r.status IN ('pending', 'running', 'paused')),
    (SELECT count(*) FROM {prefix}runs r
     WHERE r.schedule_id = j.value AND {lane} = 0 AND r.status IN ('pending', 'running', 'paused')
        AND (r.status <> 'pending' OR r.instruction IS NOT NULL)),
    t.id, t.status, t.reason, t.cause, coalesce(t.last_fire_at, t.fire_at)
FROM json_each(:ids) j
LEFT JOIN {prefix}runs t ON t.id = (
    SELECT r.id FROM {prefix}runs r
    WHERE r.schedule_id = j.value AND r.cause <> 'backfill' ORDER BY r.id DESC LIMIT 1);

-- local: disable_schedule
UPDATE {prefix}schedules SET enabled = 0, disabled_reason = :reason, version = version + 1, updated_at = :now
WHERE id = :id;

-- local: existing_runs
SELECT r.id FROM {prefix}runs r WHERE r.id IN (SELECT value FROM json_each(:ids));

-- local: insert_run
INSERT INTO {prefix}runs (
    id, schedule_id, user_id, cause, fire_at, last_fire_at, fire_count, status, reason, attempt, refusals,
    available_at, worker_id, worker, fence, cancel_requested, created_at, started_at, attempt_started_at, completed_at
    {since 5: , trigger_note} {since 6: , retry_of}
) VALUES (
    :id, :schedule_id, :user_id, :cause, :fire_at, :last_fire_at, :fire_count, :status, :reason, :attempt, :refusals,
    :available_at, :worker_id, :worker, :fence, :cancel_requested, :created_at, :started_at, :attempt_started_at,
    :completed_at {since 5: , :trigger_note} {since 6: , :retry_of}
) ON CONFLICT (id) DO NOTHING;

-- local: extend_absence
UPDATE {prefix}runs SET fire_count = fire_count + :count, last_fire_at = :last_fire_at, completed_at = :now
WHERE id = :id;

-- local: advance_schedule
UPDATE {prefix}schedules
SET next_fire_at = :next_fire_at, last_fire_at = :last_fire_at, run_count = :run_count
WHERE id = :id AND next_fire_at IS :old_next_fire_at;

-- local: start_attempt
-- A number is used again when the attempt before it never happened (the target refused the connection).
INSERT INTO {prefix}attempts (run_id, number, status, worker, started_at)
VALUES (:run_id, :number, 'running', :worker, :now)
ON CONFLICT (run_id, number) DO UPDATE SET
    status = 'running', worker = excluded.worker, started_at = excluded.started_at, completed_at = NULL,
    status_code = NULL, agent_run_id = NULL, error = NULL, model = NULL, input_tokens = NULL, output_tokens = NULL,
    total_tokens = NULL, cost = NULL;

-- local: resume_attempt
UPDATE {prefix}attempts SET status = 'running', worker = :worker, completed_at = NULL
WHERE run_id = :run_id AND number = :number;
