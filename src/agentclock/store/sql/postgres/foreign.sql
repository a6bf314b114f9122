-- name: put_foreign_run
INSERT INTO {prefix}foreign_runs (id, schedule_id, created_at, completed_at, body)
VALUES (:id::text, :schedule_id::text, :created_at::timestamptz, :completed_at::timestamptz, :body::text)
ON CONFLICT (id) DO UPDATE SET completed_at = excluded.completed_at, body = excluded.body;

-- name: get_foreign_run
SELECT f.id, f.schedule_id, f.created_at, f.completed_at, f.body FROM {prefix}foreign_runs f WHERE f.id = :id::text;

-- name: foreign_runs_of
SELECT f.id, f.schedule_id, f.created_at, f.completed_at, f.body FROM {prefix}foreign_runs f
WHERE f.schedule_id = :schedule_id::text ORDER BY f.created_at DESC, f.id DESC LIMIT :limit::bigint;

-- name: delete_foreign_runs
DELETE FROM {prefix}foreign_runs f
WHERE f.schedule_id = :schedule_id::text
    AND (:before::timestamptz IS NULL OR f.completed_at < :before::timestamptz)
RETURNING f.id;
