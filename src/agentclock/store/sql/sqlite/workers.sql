-- local: live_worker
SELECT w.name FROM {prefix}workers w WHERE w.id = :worker_id AND w.retired_at IS NULL AND w.lease_until > :now;

-- name: register_worker
INSERT INTO {prefix}workers (id, name, app_version, started_at, lease_until {since 6: , slots})
VALUES (:id, :name, :app_version, :now, :lease_until {since 6: , :slots})
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until;

-- name: renew_lease
-- Late is no matter as long as nobody called the worker dead: all may have been late alike.
UPDATE {prefix}workers SET lease_until = :lease_until WHERE id = :worker_id AND retired_at IS NULL;

-- name: cancel_requests
SELECT r.id FROM {prefix}runs r
WHERE r.status = 'running' AND r.worker_id = :worker_id AND r.cancel_requested ORDER BY r.id;

-- name: end_lease
UPDATE {prefix}workers SET lease_until = min(lease_until, :now), retired_at = coalesce(retired_at, :now)
WHERE id = :worker_id;

-- local: end_other_leases
UPDATE {prefix}workers SET lease_until = min(lease_until, :now), retired_at = coalesce(retired_at, :now);

-- local: retire_workers
UPDATE {prefix}workers SET retired_at = :now WHERE retired_at IS NULL AND lease_until <= :now;

-- name: orphaned
-- In the order of the index on running runs: by id alone, SQLite would walk through all of history.
SELECT {run_columns}, {schedule_columns}
FROM {prefix}runs r JOIN {prefix}schedules s ON s.id = r.schedule_id
WHERE r.status = 'running' AND NOT EXISTS (
    SELECT 1 FROM {prefix}workers w WHERE w.id = r.worker_id AND w.retired_at IS NULL)
ORDER BY r.worker_id, r.id LIMIT :limit;

-- local: raise_fence
UPDATE {prefix}runs SET fence = :fence WHERE id = :id;

-- name: list_workers
SELECT {worker_columns},
    (SELECT count(*) FROM {prefix}runs r WHERE r.status = 'running' AND r.worker_id = w.id)
FROM {prefix}workers w ORDER BY w.started_at DESC, w.id;

-- name: backlog
-- The ruling time, the earliest fire that is due some time, the earliest run that may be claimed, and how many runs
-- there are in each state that is not final.
SELECT :now,
    (SELECT min(s.next_fire_at) FROM {prefix}schedules s
     WHERE s.enabled AND s.deleted_at IS NULL AND s.next_fire_at IS NOT NULL),
    (SELECT min(r.available_at) FROM {prefix}runs r WHERE r.status = 'pending' AND r.available_at IS NOT NULL),
    c.pending, c.running, c.paused
FROM (
    SELECT
        coalesce(sum(r.status = 'pending'), 0) AS pending,
        coalesce(sum(r.status = 'running'), 0) AS running,
        coalesce(sum(r.status = 'paused'), 0) AS paused
    FROM {prefix}runs r INDEXED BY {prefix}runs_active WHERE r.status IN ('pending', 'running', 'paused')
) c;
