-- name: schedule_names
SELECT s.id, s.name FROM {prefix}schedules s WHERE s.id = ANY(:ids::text[]);

-- name: schedules_in_all
-- All, and those of them that are enabled: each by an index that holds just these.
SELECT (SELECT count(*) FROM {prefix}schedules s WHERE s.deleted_at IS NULL),
    (SELECT count(*) FROM {prefix}schedules s WHERE s.enabled AND s.deleted_at IS NULL);

-- name: schedules_in_all_of_user
SELECT count(*), count(*) FILTER (WHERE s.enabled) FROM {prefix}schedules s
WHERE coalesce(s.user_id, '') = :user_id AND s.user_id IS NOT NULL AND s.deleted_at IS NULL;

-- name: active_in_all
SELECT count(*) FILTER (WHERE r.status = 'pending'), count(*) FILTER (WHERE r.status = 'running'),
    count(*) FILTER (WHERE r.status = 'paused')
FROM {prefix}runs r WHERE r.status IN ('pending', 'running', 'paused') AND {where};

-- name: next_to_fire
SELECT {schedule_columns} FROM {prefix}schedules s
WHERE s.enabled AND s.deleted_at IS NULL AND s.next_fire_at IS NOT NULL AND {where}
ORDER BY s.next_fire_at LIMIT :limit::bigint;

-- local: marks_of
SELECT m.*, NULL::bigint, NULL::float8
FROM unnest(:schedule_ids::text[]) AS j (schedule_id)
CROSS JOIN LATERAL (
    SELECT {mark_columns} FROM {prefix}runs r
    WHERE r.schedule_id = j.schedule_id AND {where} ORDER BY r.id DESC LIMIT :limit::bigint
) m;

-- local: marks_of_with_usage
SELECT {mark_columns}, u.total_tokens, u.cost
FROM unnest(:schedule_ids::text[]) AS j (schedule_id)
CROSS JOIN LATERAL (
    SELECT * FROM {prefix}runs r
    WHERE r.schedule_id = j.schedule_id AND {where} ORDER BY r.id DESC LIMIT :limit::bigint
) r
LEFT JOIN LATERAL (
    SELECT sum(a.total_tokens)::bigint AS total_tokens, sum(a.cost) AS cost
    FROM {prefix}attempts a WHERE a.run_id = r.id
) u ON true;

-- name: marks_held
SELECT {mark_columns}, NULL::bigint, NULL::float8 FROM {prefix}runs r
WHERE r.status = 'running' AND r.worker_id = :worker_id ORDER BY r.id LIMIT :limit::bigint;

-- name: newest_marks
SELECT {mark_columns}, NULL::bigint, NULL::float8 FROM {prefix}runs r
WHERE {where} ORDER BY r.id DESC LIMIT :limit::bigint;

-- name: final_runs_by_schedule
-- Of runs that stand for one fire each, so that the index says it all.
SELECT r.schedule_id, count(*), count(*), (date_part('epoch', max(r.fire_at)) * 1000000)::bigint / 1000
FROM {prefix}runs r
WHERE {where} AND r.status NOT IN ('pending', 'running', 'paused') AND r.cause <> '' GROUP BY r.schedule_id;

-- name: absences_by_schedule
SELECT r.schedule_id, count(*), sum(r.fire_count)::bigint, (date_part('epoch', max(r.fire_at)) * 1000000)::bigint / 1000
FROM {prefix}runs r
WHERE {where} AND r.status NOT IN ('pending', 'running', 'paused') AND r.cause <> '' GROUP BY r.schedule_id;

-- name: active_runs_by_schedule
WITH r AS MATERIALIZED (
    SELECT * FROM {prefix}runs a WHERE a.status IN ('pending', 'running', 'paused')
)
SELECT r.schedule_id, count(*), sum(r.fire_count)::bigint, (date_part('epoch', max(r.fire_at)) * 1000000)::bigint / 1000
FROM r WHERE {where} GROUP BY r.schedule_id;

-- name: count_final_runs
-- Of runs that stand for one fire each, so that the index says it all.
SELECT
    ((date_part('epoch', r.fire_at) * 1000000)::bigint / 1000 - :since_ms::bigint) * :bins::bigint / :span_ms::bigint,
    r.status, count(*)
FROM {prefix}runs r
WHERE {where} AND r.status NOT IN ('pending', 'running', 'paused') AND r.cause <> ''
GROUP BY 1, 2;

-- name: count_absences
-- Rows that may stand for several fires, which only they themselves tell.
SELECT
    ((date_part('epoch', r.fire_at) * 1000000)::bigint / 1000 - :since_ms::bigint) * :bins::bigint / :span_ms::bigint,
    r.status, sum(r.fire_count)::bigint
FROM {prefix}runs r
WHERE {where} AND r.status NOT IN ('pending', 'running', 'paused') AND r.cause <> ''
GROUP BY 1, 2;

-- name: active_fires
-- Few runs are active; apart, so that they are not looked for in all of history.
WITH r AS MATERIALIZED (
    SELECT * FROM {prefix}runs a WHERE a.status IN ('pending', 'running', 'paused')
)
SELECT r.status, (date_part('epoch', r.fire_at) * 1000000)::bigint / 1000, r.fire_count FROM r WHERE {where};

-- name: failures
-- Of one state, so that the index gives them in order.
SELECT {failure_columns} FROM {prefix}runs r
WHERE {where} AND r.status NOT IN ('pending', 'running', 'paused') AND r.cause <> ''
ORDER BY r.fire_at DESC, r.id DESC LIMIT :limit::bigint;
