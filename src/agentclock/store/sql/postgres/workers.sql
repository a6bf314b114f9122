-- name: register_worker
INSERT INTO {prefix}workers (id, name, app_version, started_at, lease_until {since 6: , slots})
SELECT :id, :name, :app_version, t.now, t.now + make_interval(secs => :lease_seconds::float8) {since 6: , :slots::bigint}
FROM (SELECT coalesce(:now::timestamptz, now()) AS now) t
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until;

-- name: renew_lease
-- Late is no matter as long as nobody called the worker dead: all may have been late alike.
UPDATE {prefix}workers
SET lease_until = coalesce(:now::timestamptz, now()) + make_interval(secs => :lease_seconds::float8)
WHERE id = :worker_id AND retired_at IS NULL
RETURNING id;

-- name: cancel_requests
SELECT r.id FROM {prefix}runs r
WHERE r.status = 'running' AND r.worker_id = :worker_id AND r.cancel_requested ORDER BY r.id;

-- name: end_lease
UPDATE {prefix}workers SET
    lease_until = least(lease_until, coalesce(:now::timestamptz, now())),
    retired_at = coalesce(retired_at, :now::timestamptz, now())
WHERE id = :worker_id;

-- local: retire_workers
-- Waits for a renewal that is being written just now, and bars every later one.
UPDATE {prefix}workers SET retired_at = coalesce(:now::timestamptz, now())
WHERE retired_at IS NULL AND lease_until <= coalesce(:now::timestamptz, now());

-- name: orphaned
-- The fence rises with the choice: from here on the old worker's writes are refused.
WITH orphans AS MATERIALIZED (
    SELECT r.id FROM {prefix}runs r
    WHERE r.status = 'running' AND NOT EXISTS (
        SELECT 1 FROM {prefix}workers w WHERE w.id = r.worker_id AND w.retired_at IS NULL)
    ORDER BY r.id LIMIT :limit::bigint
    FOR NO KEY UPDATE OF r SKIP LOCKED
), taken AS (
    UPDATE {prefix}runs r SET fence = r.fence + 1 FROM orphans WHERE r.id = orphans.id RETURNING {run_columns}
)
SELECT taken.*, coalesce(:now::timestamptz, now()) FROM taken ORDER BY taken.id;

-- name: list_workers
SELECT {worker_columns},
    (SELECT count(*) FROM {prefix}runs r WHERE r.status = 'running' AND r.worker_id = w.id)
FROM {prefix}workers w ORDER BY w.started_at DESC, w.id;

-- name: prune_workers
DELETE FROM {prefix}workers w
WHERE w.lease_until < coalesce(:now::timestamptz, now()) - make_interval(secs => :memory_seconds::float8) AND NOT EXISTS (
    SELECT 1 FROM {prefix}runs r WHERE r.status = 'running' AND r.worker_id = w.id);

-- name: backlog
-- The ruling time, the earliest fire that is due some time, the earliest run that may be claimed, and how many runs
-- there are in each state that is not final.
SELECT coalesce(:now::timestamptz, clock_timestamp()),
    (SELECT min(s.next_fire_at) FROM {prefix}schedules s
     WHERE s.enabled AND s.deleted_at IS NULL AND s.next_fire_at IS NOT NULL),
    (SELECT min(r.available_at) FROM {prefix}runs r WHERE r.status = 'pending' AND r.available_at IS NOT NULL),
    c.pending, c.running, c.paused
FROM (
    SELECT
        count(*) FILTER (WHERE r.status = 'pending') AS pending,
        count(*) FILTER (WHERE r.status = 'running') AS running,
        count(*) FILTER (WHERE r.status = 'paused') AS paused
    FROM {prefix}runs r WHERE r.status IN ('pending', 'running', 'paused')
) c;
