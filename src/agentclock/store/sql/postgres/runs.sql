-- local: claim_runs
-- The subquery on the schedule is a filter on purpose: a join lets the planner leave the queue's order.
WITH me AS MATERIALIZED (
    SELECT w.name FROM {prefix}workers w
    WHERE w.id = :worker_id AND w.retired_at IS NULL AND w.lease_until > coalesce(:now::timestamptz, now())
), picked AS MATERIALIZED (
    SELECT r.id FROM {prefix}runs r
    WHERE r.status = 'pending' AND r.available_at <= coalesce(:now::timestamptz, now())
        AND ((SELECT s.deleted_at FROM {prefix}schedules s WHERE s.id = r.schedule_id) IS NULL
            OR r.instruction IS NOT NULL)
        AND EXISTS (SELECT 1 FROM me)
    ORDER BY r.available_at, r.id LIMIT :limit::bigint
    FOR NO KEY UPDATE OF r SKIP LOCKED
), taken AS (
    UPDATE {prefix}runs r SET
        status = 'running', attempt = r.attempt + (r.instruction IS NULL)::int, fence = r.fence + 1,
        worker_id = :worker_id, worker = (SELECT me.name FROM me),
        started_at = coalesce(r.started_at, :now::timestamptz, now()),
        attempt_started_at = coalesce(
            CASE WHEN r.instruction IS NOT NULL THEN r.attempt_started_at END, :now::timestamptz, now()),
        agent_run_id = CASE WHEN r.instruction IS NOT NULL THEN r.agent_run_id END
    FROM picked WHERE r.id = picked.id
    RETURNING {run_columns}
), begun AS (
    INSERT INTO {prefix}attempts (run_id, number, status, worker, started_at)
    SELECT taken.id, taken.attempt, 'running', taken.worker, coalesce(:now::timestamptz, now())
    FROM taken WHERE taken.instruction IS NULL
    -- A number is used again when the attempt before it never happened (the target refused the connection).
    ON CONFLICT (run_id, number) DO UPDATE SET
        status = 'running', worker = excluded.worker, started_at = excluded.started_at, completed_at = NULL,
        status_code = NULL, agent_run_id = NULL, error = NULL, model = NULL, input_tokens = NULL,
        output_tokens = NULL, total_tokens = NULL, cost = NULL
)
SELECT taken.*, coalesce(:now::timestamptz, now()) FROM taken ORDER BY taken.available_at, taken.id;

-- local: resume_attempts
-- Apart from the claim, where the planner cannot know that hardly any run goes on, and reads all attempts.
UPDATE {prefix}attempts a SET status = 'running', worker = :worker, completed_at = NULL
FROM unnest(:ids::uuid[], :numbers::bigint[]) AS t (id, number)
WHERE a.run_id = t.id AND a.number = t.number;

-- name: next_available
SELECT n.available_at, coalesce(:now::timestamptz, clock_timestamp())
FROM (
    SELECT r.available_at FROM {prefix}runs r
    WHERE r.status = 'pending' AND r.available_at > coalesce(:now::timestamptz, now())
    ORDER BY r.available_at LIMIT 1
) n;

-- local: fail_runs
-- For runs that cannot be read: they end, with the reason.
WITH failed AS (
    UPDATE {prefix}runs r SET
        status = 'failed', error = f.error, completed_at = coalesce(:now::timestamptz, now()), available_at = NULL,
        instruction = NULL, fence = r.fence + 1
    FROM unnest(:ids::uuid[], :errors::text[]) AS f (id, error)
    WHERE r.id = f.id
    RETURNING r.id, r.attempt, r.error, r.schedule_id, r.cause
), ended AS (
    UPDATE {prefix}attempts a SET
        status = 'failed', error = failed.error, completed_at = coalesce(:now::timestamptz, now())
    FROM failed WHERE a.run_id = failed.id AND a.number = failed.attempt
)
SELECT DISTINCT failed.schedule_id, failed.cause FROM failed;

-- local: undo_claims
-- A fence alone does not tell a claim that was never written from one that another worker wrote instead.
WITH undone AS (
    UPDATE {prefix}runs r SET
        status = 'pending', attempt = r.attempt - (r.instruction IS NULL)::int, worker_id = NULL,
        started_at = CASE WHEN r.attempt > 1 OR r.instruction IS NOT NULL THEN r.started_at END
    FROM unnest(:ids::uuid[], :fences::bigint[], :worker_ids::text[]) AS u (id, fence, worker_id)
    WHERE r.id = u.id AND r.fence = u.fence AND r.worker_id = u.worker_id AND r.status = 'running'
    RETURNING r.id, r.attempt + 1 AS number, r.instruction
)
DELETE FROM {prefix}attempts a USING undone
WHERE a.run_id = undone.id AND a.number = undone.number AND undone.instruction IS NULL;

-- name: note_agent_run
WITH noted AS (
    UPDATE {prefix}runs SET
        agent_run_id = coalesce(:agent_run_id, agent_run_id), session_id = coalesce(:session_id, session_id)
    WHERE id = :id::uuid AND fence = :fence AND status = 'running'
    RETURNING id, attempt
), of_attempt AS (
    UPDATE {prefix}attempts a SET agent_run_id = coalesce(:agent_run_id, a.agent_run_id)
    FROM noted WHERE a.run_id = noted.id AND a.number = noted.attempt
)
SELECT noted.id FROM noted;

-- local: settle_runs
-- Rows are locked in id order, so that two batches never wait for each other in a circle.
-- Somebody may have asked for a cancel after the worker last looked: then there is no further attempt (`stopped`), and
-- no human is waited for (`called_off`).
WITH held AS MATERIALIZED (
    SELECT e.*, r.cancel_requested AND e.status = 'pending' AND e.instruction IS NULL AS stopped,
        r.cancel_requested AND e.status = 'paused' AS called_off
    FROM unnest(
        :ids::uuid[], :fences::bigint[], :statuses::text[], :available_at::timestamptz[],
        :completed_at::timestamptz[], :attempts::bigint[], :attempt_numbers::bigint[], :attempt_statuses::text[],
        :refusals::bigint[], :ended_at::timestamptz[], :status_codes::bigint[], :errors::text[],
        :agent_run_ids::text[], :session_ids::text[], :inputs::text[], :outputs::text[], :requirements::text[],
        :metrics::text[], :instructions::text[], :paused_at::timestamptz[], :review_at::timestamptz[],
        :approval_due_at::timestamptz[], :models::text[], :input_tokens::bigint[], :output_tokens::bigint[],
        :total_tokens::bigint[], :costs::float8[]
    ) AS e (
        id, fence, status, available_at, completed_at, attempt, attempt_number, attempt_status, refusals, ended_at,
        status_code, error, agent_run_id, session_id, input, output, requirements, metrics, instruction, paused_at,
        review_at, approval_due_at, model, input_tokens, output_tokens, total_tokens, cost
    )
    JOIN {prefix}runs r ON r.id = e.id AND r.fence = e.fence
    WHERE r.status = 'running'
    ORDER BY r.id FOR NO KEY UPDATE OF r
), settled AS (
    UPDATE {prefix}runs r SET
        status = CASE WHEN e.stopped THEN 'cancelled' WHEN e.called_off THEN 'pending' ELSE e.status END,
        completed_at = CASE WHEN e.stopped THEN e.ended_at ELSE e.completed_at END,
        available_at = CASE WHEN e.called_off THEN e.ended_at WHEN NOT e.stopped THEN e.available_at END,
        instruction = CASE WHEN e.called_off THEN :called_off ELSE e.instruction END,
        worker_id = CASE WHEN e.completed_at IS NOT NULL THEN r.worker_id END,
        attempt_started_at = CASE WHEN e.paused_at IS NULL OR e.called_off THEN r.attempt_started_at END,
        paused_at = CASE WHEN NOT e.called_off THEN e.paused_at END,
        review_at = CASE WHEN NOT e.called_off THEN e.review_at END,
        approval_due_at = CASE WHEN NOT e.called_off THEN e.approval_due_at END,
        attempt = e.attempt, refusals = e.refusals, status_code = e.status_code, error = e.error,
        agent_run_id = coalesce(e.agent_run_id, r.agent_run_id), session_id = coalesce(e.session_id, r.session_id),
        input = coalesce(e.input, r.input), output = e.output, metrics = e.metrics,
        requirements = CASE WHEN e.instruction IS NULL THEN e.requirements ELSE r.requirements END
    FROM held e WHERE r.id = e.id
    RETURNING r.id, r.schedule_id, r.cause, r.fence, r.status
), finished AS (
    UPDATE {prefix}attempts a SET
        status = e.attempt_status, completed_at = CASE WHEN e.attempt_status <> 'running' THEN e.ended_at END,
        status_code = e.status_code, error = e.error, agent_run_id = coalesce(e.agent_run_id, a.agent_run_id),
        model = coalesce(e.model, a.model), input_tokens = coalesce(e.input_tokens, a.input_tokens),
        output_tokens = coalesce(e.output_tokens, a.output_tokens),
        total_tokens = coalesce(e.total_tokens, a.total_tokens), cost = coalesce(e.cost, a.cost)
    FROM held e WHERE a.run_id = e.id AND a.number = e.attempt_number AND e.attempt_status IS NOT NULL
), forgotten AS (
    DELETE FROM {prefix}attempts a
    USING held e WHERE a.run_id = e.id AND a.number = e.attempt_number AND e.attempt_status IS NULL
)
SELECT settled.id, settled.schedule_id, settled.cause, settled.fence, settled.status FROM settled;

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
LIMIT :limit::bigint;

-- name: release_waiting_of
-- One at a time: the oldest waiting run of each schedule that has nothing else active. The others' rows are locked
-- first, so that an end or a fire that is being written just now is seen for what it becomes. What is caught up keeps
-- its distance.
WITH oldest AS MATERIALIZED (
    SELECT w.schedule_id, n.id, n.cause FROM unnest(:ids::text[]) AS w (schedule_id)
    CROSS JOIN LATERAL (
        SELECT r.id, r.cause FROM {prefix}runs r
        WHERE r.schedule_id = w.schedule_id AND {lane} = 1 AND r.status IN ('pending', 'running', 'paused')
        ORDER BY r.id LIMIT 1
    ) n
), others AS MATERIALIZED (
    SELECT r.schedule_id FROM {prefix}runs r
    WHERE r.schedule_id = ANY(ARRAY(SELECT oldest.schedule_id FROM oldest))
        AND {lane} = 0 AND r.status IN ('pending', 'running', 'paused')
    ORDER BY r.id FOR SHARE
)
UPDATE {prefix}runs r SET available_at = coalesce(:now::timestamptz, now()) + make_interval(
    secs => CASE WHEN oldest.cause = 'catch_up' THEN {since 4: coalesce((
        SELECT s.catch_up_stagger_seconds FROM {prefix}schedules s WHERE s.id = oldest.schedule_id), 0) else 1}
    ELSE 0 END)
FROM oldest
WHERE r.id = oldest.id AND r.status = 'pending' AND r.available_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM others WHERE others.schedule_id = oldest.schedule_id)
RETURNING r.id;

-- name: cancel_runs
-- What never reached an agent ends at once. An agent run that nobody watches is seen to by the next worker, what is
-- running is marked for its own.
WITH active AS MATERIALIZED (
    SELECT r.id, r.cancel_requested, r.status = 'running' AS running,
        r.status = 'pending' AND r.instruction IS NULL AS unstarted
    FROM {prefix}runs r
    WHERE {where} AND r.status IN ('pending', 'running', 'paused')
    ORDER BY r.id FOR NO KEY UPDATE
)
UPDATE {prefix}runs r SET
    cancel_requested = r.cancel_requested OR a.running OR (:asked::boolean AND NOT a.unstarted),
    status = CASE WHEN a.running THEN 'running' WHEN a.unstarted THEN 'cancelled' ELSE 'pending' END,
    completed_at = CASE WHEN a.unstarted THEN coalesce(:now::timestamptz, now()) END,
    error = CASE WHEN a.unstarted THEN :why::text ELSE r.error END,
    available_at = CASE
        WHEN a.running THEN r.available_at
        WHEN NOT a.unstarted THEN coalesce(:now::timestamptz, now()) END,
    instruction = CASE WHEN NOT a.running AND NOT a.unstarted THEN :instruction::text ELSE r.instruction END,
    paused_at = NULL, review_at = NULL, approval_due_at = NULL
FROM active a WHERE r.id = a.id
RETURNING r.status, r.schedule_id, r.cause, a.cancel_requested;

-- name: cancelled_run
r.id = :id::uuid

-- name: cancelled_of_schedules
r.schedule_id = ANY(:ids::text[])

-- name: cancelled_unless_running
r.status <> 'running'

-- name: cancelled_unless_backfill
r.cause <> 'backfill'

-- name: cancelled_of_backfill
r.schedule_id = :schedule_id AND r.cause = 'backfill' AND r.created_at = :created_at::timestamptz

-- name: run_state
SELECT r.status, r.schedule_id FROM {prefix}runs r WHERE r.id = :id::uuid;

-- name: instruct
UPDATE {prefix}runs r SET
    status = 'pending', available_at = coalesce(:now::timestamptz, now()), instruction = :instruction,
    paused_at = NULL, review_at = NULL, approval_due_at = NULL
WHERE r.id = :id::uuid AND r.status = 'paused'
RETURNING {run_columns};

-- name: paused_due
SELECT {run_columns}, coalesce(:now::timestamptz, now()) FROM {prefix}runs r
WHERE r.status = 'paused' AND coalesce(r.review_at, r.created_at) <= coalesce(:now::timestamptz, now())
ORDER BY coalesce(r.review_at, r.created_at) LIMIT :limit::bigint
FOR NO KEY UPDATE SKIP LOCKED;

-- local: put_off_reviews
UPDATE {prefix}runs r SET review_at = n.at
FROM unnest(:ids::uuid[], :at::timestamptz[]) AS n (id, at) WHERE r.id = n.id;
