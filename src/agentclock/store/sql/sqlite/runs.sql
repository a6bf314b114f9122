-- local: claimable
SELECT {run_columns}, {schedule_columns}
FROM {prefix}runs r JOIN {prefix}schedules s ON s.id = r.schedule_id AND s.deleted_at IS NULL
WHERE r.status = 'pending' AND r.available_at <= :now
ORDER BY r.available_at, r.id LIMIT :limit;

-- name: next_available
SELECT min(r.available_at) FROM {prefix}runs r WHERE r.status = 'pending' AND r.available_at > :now;

-- local: claim_run
UPDATE {prefix}runs SET
    status = 'running', attempt = :attempt, fence = :fence, worker_id = :worker_id, worker = :worker,
    started_at = :started_at
WHERE id = :id AND status = 'pending';

-- local: fail_run
-- For a run that cannot be read: it ends, with the reason.
UPDATE {prefix}runs SET
    status = 'failed', error = :error, completed_at = :now, available_at = NULL, fence = fence + 1
WHERE id = :id;

-- local: fail_attempts
UPDATE {prefix}attempts SET status = 'failed', error = :error, completed_at = :now
WHERE run_id = :id AND status = 'running';

-- name: note_agent_run
UPDATE {prefix}runs SET
    agent_run_id = coalesce(:agent_run_id, agent_run_id), session_id = coalesce(:session_id, session_id)
WHERE id = :id AND fence = :fence AND status = 'running';

-- local: note_agent_run_of_attempt
UPDATE {prefix}attempts SET agent_run_id = coalesce(:agent_run_id, agent_run_id)
WHERE run_id = :id AND number = (SELECT r.attempt FROM {prefix}runs r WHERE r.id = :id);

-- local: running_fences
SELECT r.id, r.fence FROM {prefix}runs r
WHERE r.id IN (SELECT value FROM json_each(:ids)) AND r.status = 'running';

-- local: settle_run
-- Somebody may have asked for a cancel after the worker last looked: then there is no further attempt.
UPDATE {prefix}runs SET
    status = CASE WHEN :retry AND cancel_requested THEN 'cancelled' ELSE :status END,
    completed_at = CASE WHEN :retry AND cancel_requested THEN :now ELSE :completed_at END,
    available_at = CASE WHEN :retry AND cancel_requested THEN NULL ELSE :available_at END,
    worker_id = CASE WHEN :retry THEN NULL ELSE worker_id END,
    attempt = :attempt, refusals = :refusals, status_code = :status_code, error = :error,
    agent_run_id = coalesce(:agent_run_id, agent_run_id), session_id = coalesce(:session_id, session_id),
    input = coalesce(:input, input), output = :output, requirements = :requirements, metrics = :metrics
WHERE id = :id AND fence = :fence AND status = 'running';

-- local: finish_attempt
UPDATE {prefix}attempts SET
    status = :attempt_status, completed_at = :now, status_code = :status_code, error = :error,
    agent_run_id = coalesce(:agent_run_id, agent_run_id)
WHERE run_id = :id AND number = :attempt_number;

-- local: forget_attempt
DELETE FROM {prefix}attempts WHERE run_id = :id AND number = :attempt_number;

-- name: release_waiting
-- One at a time: the oldest waiting run of each schedule that has nothing else active.
UPDATE {prefix}runs SET available_at = :now WHERE id IN (
    SELECT min(r.id) FROM {prefix}runs r
    WHERE r.status = 'pending' AND r.available_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM {prefix}runs o
        WHERE o.schedule_id = r.schedule_id AND o.status IN ('pending', 'running', 'paused')
            AND (o.status <> 'pending' OR o.available_at IS NOT NULL))
    GROUP BY r.schedule_id);

-- name: release_waiting_of
UPDATE {prefix}runs SET available_at = :now WHERE id IN (
    SELECT min(r.id) FROM {prefix}runs r
    WHERE r.schedule_id IN (SELECT value FROM json_each(:ids))
        AND r.status = 'pending' AND r.available_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM {prefix}runs o
            WHERE o.schedule_id = r.schedule_id AND o.status IN ('pending', 'running', 'paused')
                AND (o.status <> 'pending' OR o.available_at IS NOT NULL))
    GROUP BY r.schedule_id);

-- name: run_state
SELECT r.status, r.schedule_id FROM {prefix}runs r WHERE r.id = :id;

-- name: cancel_run
UPDATE {prefix}runs SET status = 'cancelled', completed_at = :now, available_at = NULL
WHERE id = :id AND status IN ('pending', 'paused');

-- local: request_cancel
UPDATE {prefix}runs SET cancel_requested = 1 WHERE id = :id AND status = 'running';

-- name: get_run
SELECT {run_columns} FROM {prefix}runs r WHERE r.id = :id;

-- name: attempts_of
SELECT {attempt_columns} FROM {prefix}attempts a
WHERE a.run_id IN (SELECT value FROM json_each(:ids)) ORDER BY a.run_id, a.number;

-- name: list_runs
SELECT {run_columns} FROM {prefix}runs r WHERE {where} ORDER BY r.id DESC LIMIT :limit OFFSET :offset;

-- local: list_active_runs
-- Few runs are active, but by itself SQLite walks through all of history to save the sorting.
SELECT {run_columns} FROM {prefix}runs r INDEXED BY {prefix}runs_active
WHERE {where} ORDER BY r.id DESC LIMIT :limit OFFSET :offset;

-- name: count_runs
SELECT count(*) FROM {prefix}runs r WHERE {where};

-- name: runs_of_schedule
r.schedule_id = :schedule_id

-- name: runs_of_user
r.user_id = :user_id

-- name: runs_since
r.fire_at >= :since

-- name: runs_until
r.fire_at < :until

-- local: runs_from_id
r.id >= :from_id

-- local: runs_to_id
r.id < :to_id

-- name: runs_after
r.id < :cursor_id

-- name: accounting
SELECT
    coalesce(sum(CASE WHEN r.status NOT IN ('skipped', 'missed') THEN r.fire_count END), 0),
    coalesce(sum(CASE WHEN r.status = 'skipped' THEN r.fire_count END), 0),
    coalesce(sum(CASE WHEN r.status = 'missed' THEN r.fire_count END), 0)
FROM {prefix}runs r
WHERE r.schedule_id = :schedule_id AND r.id >= :first_id AND r.id < :end_id AND r.fire_at > :after AND r.fire_at <= :until AND r.cause <> 'manual';

-- local: prunable
SELECT r.id FROM {prefix}runs r
WHERE r.id < :end_id AND r.status NOT IN ('pending', 'running', 'paused')
    AND coalesce(r.last_fire_at, r.fire_at) < :before
ORDER BY r.id LIMIT :limit;

-- name: prune_runs
DELETE FROM {prefix}runs WHERE id IN (SELECT value FROM json_each(:ids));

-- local: prune_attempts
DELETE FROM {prefix}attempts WHERE run_id IN (SELECT value FROM json_each(:ids));

-- name: prune_schedules
DELETE FROM {prefix}schedules WHERE id IN (
    SELECT s.id FROM {prefix}schedules s
    WHERE s.deleted_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {prefix}runs r WHERE r.schedule_id = s.id)
    LIMIT :limit);

-- name: prune_workers
DELETE FROM {prefix}workers WHERE lease_until < :dead_since;
