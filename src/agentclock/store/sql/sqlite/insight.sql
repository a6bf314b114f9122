-- name: schedule_names
SELECT s.id, s.name FROM {prefix}schedules s WHERE s.id IN (SELECT value FROM json_each(:ids));

-- name: schedules_in_all
-- All, and those of them that are enabled: each by an index that holds just these.
SELECT (SELECT count(*) FROM {prefix}schedules s WHERE s.deleted_at IS NULL),
    (SELECT count(*) FROM {prefix}schedules s WHERE s.enabled AND s.deleted_at IS NULL);

-- name: schedules_in_all_of_user
SELECT count(*), coalesce(sum(s.enabled <> 0), 0) FROM {prefix}schedules s
WHERE coalesce(s.user_id, '') = :user_id AND s.user_id IS NOT NULL AND s.deleted_at IS NULL;

-- name: active_in_all
SELECT coalesce(sum(r.status = 'pending'), 0), coalesce(sum(r.status = 'running'), 0),
    coalesce(sum(r.status = 'paused'), 0)
FROM {prefix}runs r INDEXED BY {prefix}runs_active WHERE r.status IN ('pending', 'running', 'paused') AND {where};

-- name: next_to_fire
SELECT {schedule_columns} FROM {prefix}schedules s
WHERE s.enabled AND s.deleted_at IS NULL AND s.next_fire_at IS NOT NULL AND {where}
ORDER BY s.next_fire_at LIMIT :limit;

-- local: marks_of
SELECT {mark_columns}, NULL, NULL FROM {prefix}runs r
WHERE r.schedule_id = :schedule_id AND {where} ORDER BY r.id DESC LIMIT :limit;

-- local: marks_of_with_usage
SELECT {mark_columns},
    (SELECT sum(a.total_tokens) FROM {prefix}attempts a WHERE a.run_id = r.id),
    (SELECT sum(a.cost) FROM {prefix}attempts a WHERE a.run_id = r.id)
FROM {prefix}runs r
WHERE r.schedule_id = :schedule_id AND {where} ORDER BY r.id DESC LIMIT :limit;

-- name: marks_held
SELECT {mark_columns}, NULL, NULL FROM {prefix}runs r
WHERE r.status = 'running' AND r.worker_id = :worker_id ORDER BY r.id LIMIT :limit;

-- name: newest_marks
SELECT {mark_columns}, NULL, NULL FROM {prefix}runs r WHERE {where} ORDER BY r.id DESC LIMIT :limit;

-- local: newest_active_marks
-- As list_active_runs.
SELECT {mark_columns}, NULL, NULL FROM {prefix}runs r INDEXED BY {prefix}runs_active
WHERE {where} ORDER BY r.id DESC LIMIT :limit;

-- name: final_runs_by_schedule
-- One state of runs that stand for one fire each, so that the index says it all.
SELECT r.schedule_id, count(*), count(*), max(r.fire_at) FROM {prefix}runs r {since 6: INDEXED BY {prefix}runs_fires}
WHERE {where} AND r.status NOT IN ('pending', 'running', 'paused') GROUP BY r.schedule_id;

-- name: absences_by_schedule
SELECT r.schedule_id, count(*), sum(r.fire_count), max(r.fire_at)
FROM {prefix}runs r {since 6: INDEXED BY {prefix}runs_fires}
WHERE {where} AND r.status NOT IN ('pending', 'running', 'paused') GROUP BY r.schedule_id;

-- name: active_runs_by_schedule
SELECT r.schedule_id, count(*), sum(r.fire_count), max(r.fire_at)
FROM {prefix}runs r INDEXED BY {prefix}runs_active
WHERE r.status IN ('pending', 'running', 'paused') AND {where} GROUP BY r.schedule_id;

-- name: count_final_runs
-- One state of runs that stand for one fire each, so that the index says it all. The bins are walked through in their
-- order: grouped by an expression, every row would have to be sorted.
SELECT b.key, (
    SELECT count(*) FROM {prefix}runs r {since 6: INDEXED BY {prefix}runs_fires}
    WHERE {where} AND r.status NOT IN ('pending', 'running', 'paused')
        AND r.fire_at >= json_extract(b.value, '$[0]') AND r.fire_at < json_extract(b.value, '$[1]'))
FROM json_each(:bins) b;

-- name: count_absences
-- Likewise rows that may stand for several fires, which only they themselves tell.
SELECT b.key, (
    SELECT sum(r.fire_count) FROM {prefix}runs r {since 6: INDEXED BY {prefix}runs_fires}
    WHERE {where} AND r.status NOT IN ('pending', 'running', 'paused')
        AND r.fire_at >= json_extract(b.value, '$[0]') AND r.fire_at < json_extract(b.value, '$[1]'))
FROM json_each(:bins) b;

-- name: active_fires
SELECT r.status, r.fire_at, r.fire_count FROM {prefix}runs r INDEXED BY {prefix}runs_active
WHERE r.status IN ('pending', 'running', 'paused') AND {where};

-- name: failures
-- Of one state, so that the index gives them in order.
SELECT {failure_columns} FROM {prefix}runs r {since 6: INDEXED BY {prefix}runs_fires}
WHERE {where} AND r.status NOT IN ('pending', 'running', 'paused')
ORDER BY r.fire_at DESC, r.id DESC LIMIT :limit;
