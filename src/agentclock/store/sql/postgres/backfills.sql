-- name: insert_backfill (since 4)
INSERT INTO {prefix}backfills (
    id, schedule_id, from_at, until_at, existing, concurrency, fires, made_by, created_at, cancelled_at
) VALUES (
    :id::text, :schedule_id::text, :from_at::timestamptz, :until_at::timestamptz, :existing::text,
    :concurrency::bigint, :fires::bigint, :made_by::text, :created_at::timestamptz, :cancelled_at::timestamptz
);

-- local: insert_backfill_runs (since 4)
INSERT INTO {prefix}runs (id, schedule_id, user_id, cause, fire_at, status, created_at)
SELECT n.id, n.schedule_id, n.user_id, 'backfill', n.fire_at, 'pending', n.created_at
FROM unnest(
    :ids::uuid[], :schedule_ids::text[], :user_ids::text[], :fires_at::timestamptz[], :created_at::timestamptz[]
) AS n (id, schedule_id, user_id, fire_at, created_at)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: get_backfill (since 4)
SELECT b.id, b.schedule_id, b.from_at, b.until_at, b.existing, b.concurrency, b.fires, b.made_by, b.created_at,
    b.cancelled_at
FROM {prefix}backfills b WHERE b.id = :id::text;

-- name: backfills (since 4)
SELECT b.id, b.schedule_id, b.from_at, b.until_at, b.existing, b.concurrency, b.fires, b.made_by, b.created_at,
    b.cancelled_at
FROM {prefix}backfills b WHERE b.schedule_id = :schedule_id::text
ORDER BY b.created_at DESC, b.id DESC LIMIT :limit::bigint;

-- name: backfill_states (since 4)
SELECT r.status, count(*) FROM {prefix}runs r
WHERE r.schedule_id = :schedule_id::text AND r.id >= :first_id::uuid AND r.id < :end_id::uuid AND r.cause = 'backfill'
    AND r.created_at = :created_at::timestamptz
GROUP BY r.status;

-- name: end_backfill (since 4)
UPDATE {prefix}backfills SET cancelled_at = coalesce(cancelled_at, :now::timestamptz, now()) WHERE id = :id::text;

-- local: lock_backfills (since 4)
-- Whoever lets runs of backfills go does so under this lock, and in the next statement sees what its last holder did.
-- Runs are locked before it, never after.
SELECT b.id FROM {prefix}backfills b WHERE b.schedule_id = ANY(:ids::text[]) ORDER BY b.id FOR NO KEY UPDATE;

-- name: release_backfills_of (since 4)
-- The oldest waiting runs of backfills, as many as the schedule's newest backfill has room for.
WITH room AS MATERIALIZED (
    SELECT w.schedule_id,
        coalesce((SELECT b.concurrency FROM {prefix}backfills b
            WHERE b.schedule_id = w.schedule_id AND b.cancelled_at IS NULL
            ORDER BY b.created_at DESC, b.id DESC LIMIT 1), 1)
        - (SELECT count(*) FROM {prefix}runs r
            WHERE r.schedule_id = w.schedule_id AND {lane} = 2 AND r.status IN ('pending', 'running', 'paused')) AS free
    FROM unnest(:ids::text[]) AS w (schedule_id)
), oldest AS MATERIALIZED (
    SELECT n.id FROM room
    CROSS JOIN LATERAL (
        SELECT r.id FROM {prefix}runs r
        WHERE r.schedule_id = room.schedule_id AND {lane} = 3 AND r.status IN ('pending', 'running', 'paused')
        ORDER BY r.id LIMIT greatest(room.free, 0)
        FOR NO KEY UPDATE SKIP LOCKED
    ) n
)
UPDATE {prefix}runs r SET available_at = coalesce(:now::timestamptz, now())
FROM oldest WHERE r.id = oldest.id
RETURNING r.id;

-- name: prune_backfills (since 4)
DELETE FROM {prefix}backfills b
WHERE b.created_at < :before::timestamptz AND NOT EXISTS (
    SELECT 1 FROM {prefix}runs r
    WHERE r.schedule_id = b.schedule_id AND {lane} IN (2, 3) AND r.status IN ('pending', 'running', 'paused'));
