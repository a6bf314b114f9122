-- name: due_schedules
-- The limit counts rows that could be locked; the ruling time and the live worker's name come along.
SELECT {schedule_columns}, coalesce(:now::timestamptz, now()) AS now,
    (SELECT w.name FROM {prefix}workers w
     WHERE w.id = :worker_id::text AND w.retired_at IS NULL
        AND w.lease_until > coalesce(:now::timestamptz, now())) AS worker
FROM {prefix}schedules s
WHERE s.enabled AND s.deleted_at IS NULL AND s.next_fire_at <= coalesce(:now::timestamptz, now())
ORDER BY s.next_fire_at LIMIT :limit::bigint
FOR NO KEY UPDATE SKIP LOCKED;

-- name: next_due
-- Measured from the moment of the answer, not from the transaction's start.
SELECT d.next_fire_at, coalesce(:now::timestamptz, clock_timestamp())
FROM (
    SELECT s.next_fire_at FROM {prefix}schedules s
    WHERE s.enabled AND s.deleted_at IS NULL AND s.next_fire_at IS NOT NULL
    ORDER BY s.next_fire_at LIMIT 1
) d;

-- name: situations
-- One row a schedule: its active and waiting runs, those that end only when somebody has seen to their agent, and the
-- newest row of its history, backfills left out. A statement of its own, after the one that locks: only so does it see
-- what the lock's last holder wrote.
SELECT j.id, a.active, a.waiting, a.engaged, t.id, t.status, t.reason, t.cause, coalesce(t.last_fire_at, t.fire_at)
FROM unnest(:ids::text[]) AS j (id)
CROSS JOIN LATERAL (
    SELECT count(*) AS active,
        count(*) FILTER (WHERE r.status = 'pending' AND r.available_at IS NULL) AS waiting,
        count(*) FILTER (WHERE r.status <> 'pending' OR r.instruction IS NOT NULL) AS engaged
    FROM {prefix}runs r
    WHERE r.schedule_id = j.id AND {lane} < 2 AND r.status IN ('pending', 'running', 'paused')
) a
LEFT JOIN LATERAL (
    SELECT r.id, r.status, r.reason, r.cause, r.last_fire_at, r.fire_at FROM {prefix}runs r
    WHERE r.schedule_id = j.id AND r.cause <> 'backfill' ORDER BY r.id DESC LIMIT 1
) t ON true;

-- local: disable_schedules
UPDATE {prefix}schedules s SET
    enabled = false, disabled_reason = f.reason, version = s.version + 1, updated_at = :at
FROM unnest(:ids::text[], :reasons::text[]) AS f (id, reason)
WHERE s.id = f.id;

-- local: write_batch
-- New runs (and absences), the first attempts of those that are running already, and the schedules' advance.
WITH fired AS (
    INSERT INTO {prefix}runs (
        id, schedule_id, user_id, cause, fire_at, last_fire_at, fire_count, status, reason, available_at,
        {since 5: trigger_note,} {since 6: retry_of,} attempt, refusals, fence, worker_id, worker, cancel_requested,
        created_at, started_at, attempt_started_at, completed_at
    )
    SELECT f.*, (f.status = 'running')::int, 0, (f.status = 'running')::int,
        CASE WHEN f.status = 'running' THEN :worker_id::text END,
        CASE WHEN f.status = 'running' THEN :worker::text END, false, :at::timestamptz,
        CASE WHEN f.status = 'running' THEN :at::timestamptz END,
        CASE WHEN f.status = 'running' THEN :at::timestamptz END,
        CASE WHEN f.status IN ('skipped', 'missed') THEN :at::timestamptz END
    FROM unnest(
        :ids::uuid[], :schedule_ids::text[], :user_ids::text[], :causes::text[], :fires_at::timestamptz[],
        :last_fires_at::timestamptz[], :fire_counts::bigint[], :statuses::text[], :reasons::text[],
        :available_at::timestamptz[] {since 5: , :trigger_notes::text[]} {since 6: , :retries_of::text[]}
    ) AS f (
        id, schedule_id, user_id, cause, fire_at, last_fire_at, fire_count, status, reason, available_at
        {since 5: , trigger_note} {since 6: , retry_of}
    )
    ON CONFLICT (id) DO NOTHING
    RETURNING id, status
), begun AS (
    INSERT INTO {prefix}attempts (run_id, number, status, worker, started_at)
    SELECT fired.id, 1, 'running', :worker, :at::timestamptz FROM fired WHERE fired.status = 'running'
    ON CONFLICT (run_id, number) DO NOTHING
), advanced AS (
    UPDATE {prefix}schedules s
    SET next_fire_at = p.next_fire_at, last_fire_at = p.last_fire_at, run_count = p.run_count
    FROM unnest(
        :planned_ids::text[], :old_next_fires_at::timestamptz[], :next_fires_at::timestamptz[],
        :newest_fires_at::timestamptz[], :run_counts::bigint[]
    ) AS p (id, old_next_fire_at, next_fire_at, last_fire_at, run_count)
    WHERE s.id = p.id AND s.next_fire_at IS NOT DISTINCT FROM p.old_next_fire_at
)
SELECT fired.id FROM fired;

-- local: extend_absences
UPDATE {prefix}runs r SET
    fire_count = r.fire_count + e.count, last_fire_at = e.last_fire_at, completed_at = :at
FROM unnest(:ids::uuid[], :counts::bigint[], :last_fires_at::timestamptz[]) AS e (id, count, last_fire_at)
WHERE r.id = e.id;
