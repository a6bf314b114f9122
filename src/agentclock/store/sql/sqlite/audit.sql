-- name: insert_audit (since 5)
-- Any number of entries at once; the schedule's row tells its name and its owner.
INSERT INTO {prefix}audit_log (
    id, at, action, actor, source, user_id, schedule_id, schedule_name, run_id, details
)
SELECT n.id, n.at, n.action, n.actor, n.source, coalesce(n.user_id, s.user_id), n.schedule_id, s.name, n.run_id,
    n.details
FROM (
    SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.at') AS at,
        json_extract(value, '$.action') AS action, json_extract(value, '$.actor') AS actor,
        json_extract(value, '$.source') AS source, json_extract(value, '$.user_id') AS user_id,
        json_extract(value, '$.schedule_id') AS schedule_id, json_extract(value, '$.run_id') AS run_id,
        json_extract(value, '$.details') AS details
    FROM json_each(:rows)
) n
LEFT JOIN {prefix}schedules s ON s.id = n.schedule_id;

-- name: newest_audit (since 5)
SELECT (SELECT l.id FROM {prefix}audit_log l ORDER BY l.id DESC LIMIT 1);

-- name: list_audit (since 5)
SELECT {audit_columns} FROM {prefix}audit_log l WHERE {where} ORDER BY l.id DESC LIMIT :limit OFFSET :offset;

-- name: count_audit (since 5)
SELECT count(*) FROM {prefix}audit_log l WHERE {where};

-- name: audit_of_user
l.user_id = :user_id

-- name: audit_by_actor
l.actor = :actor

-- name: audit_of_schedule
l.schedule_id = :schedule_id

-- name: audit_of_run
l.run_id = :run_id

-- name: audit_since
l.id >= :from_id

-- name: audit_until
l.id < :to_id

-- name: audit_after
l.id < :cursor_id
