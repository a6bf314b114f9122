-- name: insert_audit (since 5)
-- Any number of entries at once; the schedule's row tells its name and its owner.
INSERT INTO {prefix}audit_log (
    id, at, action, actor, source, user_id, schedule_id, schedule_name, run_id, details
)
SELECT n.id, n.at, n.action, n.actor, n.source, coalesce(n.user_id, s.user_id), n.schedule_id, s.name, n.run_id,
    n.details
FROM unnest(
    :ids::uuid[], :at::timestamptz[], :actions::text[], :actors::text[], :sources::text[], :user_ids::text[],
    :schedule_ids::text[], :run_ids::uuid[], :details::text[]
) AS n (id, at, action, actor, source, user_id, schedule_id, run_id, details)
LEFT JOIN {prefix}schedules s ON s.id = n.schedule_id;

-- name: newest_audit (since 5)
-- And the ruling time, which the next one's id begins with.
SELECT (SELECT l.id FROM {prefix}audit_log l ORDER BY l.id DESC LIMIT 1), coalesce(:now::timestamptz, now());

-- name: list_audit (since 5)
SELECT {audit_columns} FROM {prefix}audit_log l
WHERE {where} ORDER BY l.id DESC LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: count_audit (since 5)
SELECT count(*) FROM {prefix}audit_log l WHERE {where};

-- name: audit_of_user
l.user_id = :user_id

-- name: audit_by_actor
l.actor = :actor

-- name: audit_of_schedule
l.schedule_id = :schedule_id

-- name: audit_of_run
l.run_id = :run_id::uuid

-- name: audit_since
l.id >= :from_id::uuid

-- name: audit_until
l.id < :to_id::uuid

-- name: audit_after
l.id < :cursor_id::uuid
