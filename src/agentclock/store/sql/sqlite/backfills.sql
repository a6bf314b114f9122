-- name: insert_backfill (since 4)
INSERT INTO {prefix}backfills (
    id, schedule_id, from_at, until_at, existing, concurrency, fires, made_by, created_at, cancelled_at
) VALUES (
    :id, :schedule_id, :from_at, :until_at, :existing, :concurrency, :fires, :made_by, :created_at, :cancelled_at
);

-- name: get_backfill (since 4)
SELECT b.id, b.schedule_id, b.from_at, b.until_at, b.existing, b.concurrency, b.fires, b.made_by, b.created_at,
    b.cancelled_at
FROM {prefix}backfills b WHERE b.id = :id;

-- name: backfills (since 4)
SELECT b.id, b.schedule_id, b.from_at, b.until_at, b.existing, b.concurrency, b.fires, b.made_by, b.created_at,
    b.cancelled_at
FROM {prefix}backfills b WHERE b.schedule_id = :schedule_id ORDER BY b.created_at DESC, b.id DESC LIMIT :limit;

-- name: backfill_states (since 4)
SELECT r.status, count(*) FROM {prefix}runs r
WHERE r.schedule_id = :schedule_id AND r.id >= :first_id AND r.id < :end_id AND r.cause = 'backfill'
    AND r.created_at = :created_at
GROUP BY r.status;

-- name: end_backfill (since 4)
UPDATE {prefix}backfills SET cancelled_at = coalesce(cancelled_at, :now) WHERE id = :id;

-- name: release_backfills_of (since 4)
-- The oldest waiting runs of backfills, as many as the schedule's newest backfill has room for.
UPDATE {prefix}runs SET available_at = :now WHERE id IN (
    SELECT r.id FROM {prefix}runs r
    WHERE r.schedule_id = :schedule_id AND {lane} = 3 AND r.status IN ('pending', 'running', 'paused')
    ORDER BY r.id LIMIT max(0,
        coalesce((SELECT b.concurrency FROM {prefix}backfills b
            WHERE b.schedule_id = :schedule_id AND b.cancelled_at IS NULL
            ORDER BY b.created_at DESC, b.id DESC LIMIT 1), 1)
        - (SELECT count(*) FROM {prefix}runs r
            WHERE r.schedule_id = :schedule_id AND {lane} = 2 AND r.status IN ('pending', 'running', 'paused'))));

-- name: prune_backfills (since 4)
DELETE FROM {prefix}backfills
WHERE created_at < :before AND NOT EXISTS (
    SELECT 1 FROM {prefix}runs r
    WHERE r.schedule_id = {prefix}backfills.schedule_id AND {lane} IN (2, 3)
        AND r.status IN ('pending', 'running', 'paused'));
