-- name: get_run
SELECT {run_columns} FROM {prefix}runs r WHERE r.id = :id::uuid;

-- name: runs_by_id
SELECT {run_columns} FROM {prefix}runs r WHERE r.id = ANY(:ids::uuid[]);

-- name: newest_runs
SELECT {run_columns} FROM {prefix}runs r
WHERE r.id >= :from_id::uuid AND r.fire_at >= :since ORDER BY r.id DESC LIMIT :limit::bigint;

-- name: active_runs
-- Few runs are active; the array keeps the planner from looking for them in all of history, from its end.
SELECT {run_columns} FROM {prefix}runs r
WHERE r.id = ANY(ARRAY(
    SELECT o.id FROM {prefix}runs o WHERE o.status IN ('pending', 'running', 'paused')))
ORDER BY r.id DESC LIMIT :limit::bigint;

-- name: attempts_of
SELECT {attempt_columns} FROM {prefix}attempts a WHERE a.run_id = ANY(:ids::uuid[]) ORDER BY a.run_id, a.number;

-- name: list_runs
SELECT {run_columns} FROM {prefix}runs r WHERE {where} ORDER BY r.id DESC LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: list_runs_of_few
-- The newest of each schedule, then of them all: however long the history is, no more is read.
SELECT {run_columns}
FROM unnest(:schedule_ids::text[]) AS j (schedule_id) CROSS JOIN LATERAL (
    SELECT * FROM {prefix}runs r
    WHERE r.schedule_id = j.schedule_id AND {where} ORDER BY r.id DESC LIMIT :limit::bigint + :offset::bigint
) r
ORDER BY r.id DESC LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: count_runs
SELECT count(*) FROM {prefix}runs r WHERE {where};

-- name: runs_of_schedule
r.schedule_id = :schedule_id

-- name: runs_of_few_schedules
r.schedule_id = ANY(:schedule_ids::text[])

-- name: runs_of_schedules
-- A filter on purpose: as a join, a planner that cannot know how few or many these are reads all of their history.
(r.schedule_id IN (SELECT unnest(:schedule_ids::text[]))) IS TRUE

-- name: runs_of_user
r.user_id = :user_id

-- name: runs_since
r.fire_at >= :since

-- name: runs_until
r.fire_at < :until

-- local: runs_from_id
r.id >= :from_id::uuid

-- local: runs_to_id
r.id <= :to_id::uuid

-- name: late_run (since 5)
-- Of runs that came later after their fire time than searches by time allow for: hardly any ever do.
SELECT r.id FROM {prefix}runs r
WHERE r.cause = 'manual' AND r.created_at - r.fire_at > interval '24 hours' AND r.fire_at < :until::timestamptz
ORDER BY r.id DESC LIMIT 1;

-- name: runs_after
r.id < :cursor_id::uuid

-- name: accounting
-- By fire time alone: a row that has an id of another time is one too many and must be seen. Runs that were attempted and
-- never claimed are imported: other schedulers account for them.
SELECT
    coalesce(sum(r.fire_count) FILTER (WHERE r.status NOT IN ('skipped', 'missed')), 0)::bigint,
    coalesce(sum(r.fire_count) FILTER (WHERE r.status = 'skipped'), 0)::bigint,
    coalesce(sum(r.fire_count) FILTER (WHERE r.status = 'missed'), 0)::bigint
FROM {prefix}runs r
WHERE r.schedule_id = :schedule_id AND r.fire_at > :after AND r.fire_at <= :until
    AND r.cause NOT IN ('manual', 'backfill') AND (r.fence > 0 OR r.attempt = 0);

-- name: absent_across
-- Rows of the timetable never overlap: only the newest one up to an instant can reach beyond it.
SELECT {run_columns} FROM (
    SELECT * FROM {prefix}runs r
    WHERE r.schedule_id = :schedule_id AND r.id < :end_id::uuid AND r.fire_at <= :at::timestamptz
        AND r.cause NOT IN ('manual', 'backfill') AND (r.fence > 0 OR r.attempt = 0)
    ORDER BY r.id DESC LIMIT 1) r
WHERE r.status IN ('skipped', 'missed') AND r.last_fire_at > :at::timestamptz;

-- name: usage
SELECT a.model, sum(a.input_tokens)::bigint, sum(a.output_tokens)::bigint, sum(a.total_tokens)::bigint, sum(a.cost),
    count(*)
FROM {prefix}runs r JOIN {prefix}attempts a ON a.run_id = r.id
WHERE r.schedule_id = :schedule_id AND r.id >= :first_id::uuid AND r.id <= :last_id::uuid
    AND r.fire_at >= :since AND r.fire_at < :until
    AND num_nonnulls(a.model, a.input_tokens, a.output_tokens, a.total_tokens, a.cost) > 0
GROUP BY a.model ORDER BY 4 DESC NULLS LAST, a.model;

-- local: prune_events
WITH old AS MATERIALIZED (
    SELECT r.id FROM {prefix}runs r
    WHERE r.id < :end_id::uuid AND r.status NOT IN ('pending', 'running', 'paused')
        AND coalesce(r.last_fire_at, r.fire_at) < :before AND (r.cause <> 'manual' OR r.created_at < :before)
    ORDER BY r.id LIMIT :limit::bigint
    FOR UPDATE SKIP LOCKED
), told AS MATERIALIZED (
    SELECT e.run_id, e.seq FROM old JOIN {prefix}run_events e ON e.run_id = old.id LIMIT :event_limit::bigint
), pruned AS (
    DELETE FROM {prefix}run_events e USING told WHERE e.run_id = told.run_id AND e.seq = told.seq RETURNING 1
)
SELECT count(*) FROM pruned;

-- name: prune_runs
-- Whatever another transaction has locked in the meantime or let go, no run leaves events behind.
WITH old AS MATERIALIZED (
    SELECT r.id FROM {prefix}runs r
    WHERE r.id < :end_id::uuid AND r.status NOT IN ('pending', 'running', 'paused')
        AND coalesce(r.last_fire_at, r.fire_at) < :before AND (r.cause <> 'manual' OR r.created_at < :before)
    ORDER BY r.id LIMIT :limit::bigint
    FOR UPDATE SKIP LOCKED
), pruned AS (
    DELETE FROM {prefix}runs r USING old WHERE r.id = old.id RETURNING r.id
), of_pruned AS (
    DELETE FROM {prefix}attempts a USING old WHERE a.run_id = old.id
), told_by_pruned AS (
    DELETE FROM {prefix}run_events e USING old WHERE e.run_id = old.id
)
SELECT count(*) FROM pruned;

-- name: prune_schedules
WITH gone AS (
    DELETE FROM {prefix}schedules WHERE id = ANY(ARRAY(
        SELECT s.id FROM {prefix}schedules s
        WHERE s.deleted_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {prefix}runs r WHERE r.schedule_id = s.id)
        LIMIT :limit::bigint
        FOR UPDATE SKIP LOCKED))
    RETURNING id
){since 4: , revisions_of_gone AS (
    DELETE FROM {prefix}schedule_revisions v USING gone WHERE v.schedule_id = gone.id
), backfills_of_gone AS (
    DELETE FROM {prefix}backfills b USING gone WHERE b.schedule_id = gone.id
)}
SELECT count(*) FROM gone;

-- name: prune_revisions (since 4)
-- Those that a later one had replaced by then. What ruled at that time, and since, stays.
WITH newest AS MATERIALIZED (
    SELECT n.schedule_id, max(n.version) AS version FROM {prefix}schedule_revisions n
    WHERE n.kind <> 'created' AND n.at < :before::timestamptz
    GROUP BY n.schedule_id
), old AS MATERIALIZED (
    SELECT o.schedule_id, o.version FROM newest CROSS JOIN LATERAL (
        SELECT r.schedule_id, r.version FROM {prefix}schedule_revisions r
        WHERE r.schedule_id = newest.schedule_id AND r.version < newest.version
    ) o
    LIMIT :limit::bigint
)
DELETE FROM {prefix}schedule_revisions v USING old WHERE v.schedule_id = old.schedule_id AND v.version = old.version;
