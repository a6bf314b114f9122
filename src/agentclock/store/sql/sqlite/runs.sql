-- local: claimable
SELECT {run_columns}, {schedule_columns}
FROM {prefix}runs r JOIN {prefix}schedules s ON s.id = r.schedule_id
    AND (s.deleted_at IS NULL OR r.instruction IS NOT NULL)
WHERE r.status = 'pending' AND r.available_at <= :now
ORDER BY r.available_at, r.id LIMIT :limit;

-- name: next_available
SELECT min(r.available_at) FROM {prefix}runs r WHERE r.status = 'pending' AND r.available_at > :now;

-- local: claim_run
UPDATE {prefix}runs SET
    status = 'running', attempt = :attempt, fence = :fence, worker_id = :worker_id, worker = :worker,
    started_at = :started_at, attempt_started_at = :attempt_started_at, agent_run_id = :agent_run_id
WHERE id = :id AND status = 'pending';

-- local: fail_run
-- For a run that cannot be read: it ends, with the reason.
UPDATE {prefix}runs SET
    status = 'failed', error = :error, completed_at = :now, available_at = NULL, instruction = NULL, fence = fence + 1
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

-- local: held_runs
SELECT r.id, r.fence, r.cancel_requested, r.cause FROM {prefix}runs r
WHERE r.id IN (SELECT value FROM json_each(:ids)) AND r.status = 'running';

-- local: settle_run
UPDATE {prefix}runs SET
    status = :status, completed_at = :completed_at, available_at = :available_at, instruction = :instruction,
    worker_id = CASE WHEN :completed_at IS NOT NULL THEN worker_id END,
    attempt_started_at = CASE WHEN :paused_at IS NULL THEN attempt_started_at END,
    paused_at = :paused_at, review_at = :review_at, approval_due_at = :approval_due_at,
    attempt = :attempt, refusals = :refusals, status_code = :status_code, error = :error,
    agent_run_id = coalesce(:agent_run_id, agent_run_id), session_id = coalesce(:session_id, session_id),
    input = coalesce(:input, input), output = :output, metrics = :metrics,
    requirements = CASE WHEN :instruction IS NULL THEN :requirements ELSE requirements END
WHERE id = :id AND fence = :fence AND status = 'running';

-- local: finish_attempt
UPDATE {prefix}attempts SET
    status = :attempt_status, completed_at = CASE WHEN :attempt_status <> 'running' THEN :now END,
    status_code = :status_code, error = :error, agent_run_id = coalesce(:agent_run_id, agent_run_id),
    model = coalesce(:model, model), input_tokens = coalesce(:input_tokens, input_tokens),
    output_tokens = coalesce(:output_tokens, output_tokens), total_tokens = coalesce(:total_tokens, total_tokens),
    cost = coalesce(:cost, cost)
WHERE run_id = :id AND number = :attempt_number;

-- local: forget_attempt
DELETE FROM {prefix}attempts WHERE run_id = :id AND number = :attempt_number;

-- name: release_waiting
-- The schedules of waiting runs of which one may go, each looked at once, however many of its runs wait. Backfills have
-- a line of their own, in which several may go at a time.
WITH RECURSIVE lines (schedule_id) AS (
    SELECT min(r.schedule_id) FROM {prefix}runs r WHERE r.status = 'pending' AND r.available_at IS NULL
    UNION ALL
    SELECT (SELECT min(r.schedule_id) FROM {prefix}runs r
            WHERE r.status = 'pending' AND r.available_at IS NULL AND r.schedule_id > lines.schedule_id)
    FROM lines WHERE lines.schedule_id IS NOT NULL
), free AS (
    SELECT lines.schedule_id,
        EXISTS (SELECT 1 FROM {prefix}runs r
            WHERE r.schedule_id = lines.schedule_id AND {lane} = 1 AND r.status IN ('pending', 'running', 'paused'))
        AND NOT EXISTS (SELECT 1 FROM {prefix}runs r
            WHERE r.schedule_id = lines.schedule_id AND {lane} = 0 AND r.status IN ('pending', 'running', 'paused'))
        AS for_one,
        {since 4:
        EXISTS (SELECT 1 FROM {prefix}runs r
            WHERE r.schedule_id = lines.schedule_id AND {lane} = 3 AND r.status IN ('pending', 'running', 'paused'))
        AND (SELECT count(*) FROM {prefix}runs r
            WHERE r.schedule_id = lines.schedule_id AND {lane} = 2 AND r.status IN ('pending', 'running', 'paused'))
            < coalesce((SELECT b.concurrency FROM {prefix}backfills b
                WHERE b.schedule_id = lines.schedule_id AND b.cancelled_at IS NULL
                ORDER BY b.created_at DESC, b.id DESC LIMIT 1), 1)
        else false} AS for_backfills
    FROM lines WHERE lines.schedule_id IS NOT NULL
)
SELECT free.schedule_id, free.for_one, free.for_backfills FROM free WHERE free.for_one OR free.for_backfills
LIMIT :limit;

-- name: release_waiting_of
-- One at a time: the oldest waiting run of each schedule that has nothing else active. What is caught up keeps its
-- distance.
UPDATE {prefix}runs SET available_at = :now + CASE WHEN cause = 'catch_up' THEN 1000 * {since 4: coalesce((
        SELECT s.catch_up_stagger_seconds FROM {prefix}schedules s WHERE s.id = {prefix}runs.schedule_id), 0) else 1}
    ELSE 0 END
WHERE id IN (
    SELECT (SELECT min(r.id) FROM {prefix}runs r
            WHERE r.schedule_id = w.value AND {lane} = 1 AND r.status IN ('pending', 'running', 'paused'))
    FROM json_each(:ids) w
    WHERE NOT EXISTS (
        SELECT 1 FROM {prefix}runs r
        WHERE r.schedule_id = w.value AND {lane} = 0 AND r.status IN ('pending', 'running', 'paused')));

-- name: run_state
SELECT r.status, r.schedule_id, r.cause, r.cancel_requested FROM {prefix}runs r WHERE r.id = :id;

-- name: cancel_runs
-- What never reached an agent ends at once. An agent run that nobody watches is seen to by the next worker, what is
-- running is marked for its own.
UPDATE {prefix}runs SET
    cancel_requested = cancel_requested OR status = 'running'
        OR :asked AND (status = 'paused' OR instruction IS NOT NULL),
    status = CASE
        WHEN status = 'running' THEN 'running'
        WHEN status = 'pending' AND instruction IS NULL THEN 'cancelled'
        ELSE 'pending' END,
    completed_at = CASE WHEN status = 'pending' AND instruction IS NULL THEN :now END,
    error = CASE WHEN status = 'pending' AND instruction IS NULL THEN :why ELSE error END,
    available_at = CASE
        WHEN status = 'running' THEN available_at
        WHEN status = 'paused' OR instruction IS NOT NULL THEN :now END,
    instruction = CASE
        WHEN status <> 'running' AND (status = 'paused' OR instruction IS NOT NULL) THEN :instruction
        ELSE instruction END,
    paused_at = NULL, review_at = NULL, approval_due_at = NULL
WHERE {where} AND status IN ('pending', 'running', 'paused');

-- name: cancelled_run
id = :id

-- name: cancelled_of_schedules
schedule_id IN (SELECT value FROM json_each(:ids))

-- name: cancelled_unless_running
status <> 'running'

-- name: cancelled_unless_backfill
cause <> 'backfill'

-- name: cancelled_of_backfill
schedule_id = :schedule_id AND cause = 'backfill' AND created_at = :created_at

-- name: instruct
UPDATE {prefix}runs SET
    status = 'pending', available_at = :now, instruction = :instruction, paused_at = NULL, review_at = NULL,
    approval_due_at = NULL
WHERE id = :id AND status = 'paused';

-- name: paused_due
SELECT {run_columns}, {schedule_columns}
FROM {prefix}runs r JOIN {prefix}schedules s ON s.id = r.schedule_id
WHERE r.status = 'paused' AND coalesce(r.review_at, r.created_at) <= :now
ORDER BY coalesce(r.review_at, r.created_at) LIMIT :limit;

-- local: put_off_review
UPDATE {prefix}runs SET review_at = :at WHERE id = :id;

-- name: get_run
SELECT {run_columns} FROM {prefix}runs r WHERE r.id = :id;

-- name: runs_by_id
SELECT {run_columns} FROM {prefix}runs r WHERE r.id IN (SELECT value FROM json_each(:ids));

-- name: newest_runs
SELECT {run_columns} FROM {prefix}runs r
WHERE r.id >= :from_id AND r.fire_at >= :since ORDER BY r.id DESC LIMIT :limit;

-- name: active_runs
SELECT {run_columns} FROM {prefix}runs r INDEXED BY {prefix}runs_active
WHERE r.status IN ('pending', 'running', 'paused') ORDER BY r.id DESC LIMIT :limit;

-- name: attempts_of
SELECT {attempt_columns} FROM {prefix}attempts a
WHERE a.run_id IN (SELECT value FROM json_each(:ids)) ORDER BY a.run_id, a.number;

-- name: list_runs
SELECT {run_columns} FROM {prefix}runs r WHERE {where} ORDER BY r.id DESC LIMIT :limit OFFSET :offset;

-- local: list_active_runs
-- Few runs are active, but by itself SQLite walks through all of history to save the sorting.
SELECT {run_columns} FROM {prefix}runs r INDEXED BY {prefix}runs_active
WHERE {where} ORDER BY r.id DESC LIMIT :limit OFFSET :offset;

-- name: list_runs_of_few
-- The newest of each schedule, then of them all: however long the history is, no more is read.
SELECT {run_columns}
FROM json_each(:schedule_ids) j CROSS JOIN {prefix}runs r ON r.id IN (
    SELECT r.id FROM {prefix}runs r
    WHERE r.schedule_id = j.value AND {where} ORDER BY r.id DESC LIMIT :limit + :offset)
ORDER BY r.id DESC LIMIT :limit OFFSET :offset;

-- name: count_runs
SELECT count(*) FROM {prefix}runs r WHERE {where};

-- name: runs_of_schedule
r.schedule_id = :schedule_id

-- name: runs_of_few_schedules
r.schedule_id IN (SELECT value FROM json_each(:schedule_ids))

-- name: runs_of_schedules
-- The plus keeps it a filter: by an index, all of their history would have to be read and sorted.
+r.schedule_id IN (SELECT value FROM json_each(:schedule_ids))

-- name: runs_of_user
r.user_id = :user_id

-- name: runs_since
r.fire_at >= :since

-- name: runs_until
r.fire_at < :until

-- local: runs_from_id
r.id >= :from_id

-- local: runs_to_id
r.id <= :to_id

-- name: late_run (since 5)
-- Of runs that came later after their fire time than searches by time allow for: hardly any ever do.
SELECT r.id FROM {prefix}runs r
WHERE r.cause = 'manual' AND r.created_at - r.fire_at > 60000 AND r.fire_at < :until
ORDER BY r.id DESC LIMIT 1;

-- name: runs_after
r.id < :cursor_id

-- name: accounting
-- By fire time alone: a row that has an id of another time is one too many and must be seen. Runs that were attempted and
-- never claimed are imported: other schedulers account for them.
SELECT
    coalesce(sum(CASE WHEN r.status NOT IN ('skipped', 'missed') THEN r.fire_count END), 0),
    coalesce(sum(CASE WHEN r.status = 'skipped' THEN r.fire_count END), 0),
    coalesce(sum(CASE WHEN r.status = 'missed' THEN r.fire_count END), 0)
FROM {prefix}runs r
WHERE r.schedule_id = :schedule_id AND r.fire_at > :after AND r.fire_at <= :until
    AND r.cause NOT IN ('manual', 'backfill') AND (r.fence > 0 OR r.attempt = 0);

-- name: absent_across
-- Rows of the timetable never overlap: only the newest one up to an instant can reach beyond it.
SELECT {run_columns} FROM (
    SELECT * FROM {prefix}runs r
    WHERE r.schedule_id = :schedule_id AND r.id < :end_id AND r.fire_at <= :at
        AND r.cause NOT IN ('manual', 'backfill') AND (r.fence > 0 OR r.attempt = 0)
    ORDER BY r.id DESC LIMIT 1) r
WHERE r.status IN ('skipped', 'missed') AND r.last_fire_at > :at;

-- name: usage
SELECT a.model, sum(a.input_tokens), sum(a.output_tokens), sum(a.total_tokens), sum(a.cost), count(*)
FROM {prefix}runs r JOIN {prefix}attempts a ON a.run_id = r.id
WHERE r.schedule_id = :schedule_id AND r.id >= :first_id AND r.id <= :last_id
    AND r.fire_at >= :since AND r.fire_at < :until
    AND coalesce(a.model, a.input_tokens, a.output_tokens, a.total_tokens, a.cost) IS NOT NULL
GROUP BY a.model ORDER BY 4 DESC, a.model;

-- local: prunable
SELECT r.id FROM {prefix}runs r
WHERE r.id < :end_id AND r.status NOT IN ('pending', 'running', 'paused')
    AND coalesce(r.last_fire_at, r.fire_at) < :before
ORDER BY r.id LIMIT :limit;

-- name: prune_runs
DELETE FROM {prefix}runs WHERE id IN (SELECT value FROM json_each(:ids));

-- local: prune_attempts
DELETE FROM {prefix}attempts WHERE run_id IN (SELECT value FROM json_each(:ids));

-- local: prune_events
DELETE FROM {prefix}run_events WHERE (run_id, seq) IN (
    SELECT e.run_id, e.seq FROM json_each(:ids) j CROSS JOIN {prefix}run_events e
    WHERE e.run_id = j.value LIMIT :event_limit);

-- name: prune_schedules
DELETE FROM {prefix}schedules WHERE id IN (SELECT value FROM json_each(:ids));

-- local: prunable_schedules
SELECT s.id FROM {prefix}schedules s
WHERE s.deleted_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {prefix}runs r WHERE r.schedule_id = s.id)
LIMIT :limit;

-- local: prune_revisions_of (since 4)
DELETE FROM {prefix}schedule_revisions WHERE schedule_id IN (SELECT value FROM json_each(:ids));

-- local: prune_backfills_of (since 4)
DELETE FROM {prefix}backfills WHERE schedule_id IN (SELECT value FROM json_each(:ids));

-- name: prune_revisions (since 4)
-- Those that a later one had replaced by then. What ruled at that time, and since, stays.
DELETE FROM {prefix}schedule_revisions WHERE (schedule_id, version) IN (
    SELECT o.schedule_id, o.version
    FROM {prefix}schedule_revisions n
    JOIN {prefix}schedule_revisions o ON o.schedule_id = n.schedule_id AND o.version < n.version
    WHERE n.kind <> 'created' AND n.at < :before LIMIT :limit);

-- name: prune_workers
DELETE FROM {prefix}workers WHERE lease_until < :dead_since;
