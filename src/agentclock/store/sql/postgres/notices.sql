-- name: insert_notices (since 5)
INSERT INTO {prefix}notices (
    id, webhook, kind, created_at, schedule_id, run_id, user_id, data, status, tries, next_try_at
)
SELECT e.id, e.webhook, e.kind, e.created_at, e.schedule_id, e.run_id, e.user_id, e.data, 'pending', 0,
    coalesce(:now::timestamptz, now())
FROM unnest(
    :ids::text[], :webhooks::text[], :kinds::text[], :created_at::timestamptz[], :schedule_ids::text[],
    :run_ids::uuid[], :user_ids::text[], :data::text[]
) AS e (id, webhook, kind, created_at, schedule_id, run_id, user_id, data)
ON CONFLICT (id) DO NOTHING;

-- name: recovered_runs (since 5)
-- Those before which, in the order of their fires, a run went wrong.
SELECT e.id FROM unnest(:ids::uuid[], :schedule_ids::text[]) AS e (id, schedule_id)
WHERE (
    SELECT r.status FROM {prefix}runs r
    WHERE r.schedule_id = e.schedule_id AND r.id < e.id AND r.cause <> 'backfill'
        AND r.status IN ('success', 'failed', 'timeout', 'lost')
    ORDER BY r.id DESC LIMIT 1
) IN ('failed', 'timeout', 'lost');

-- local: claim_notices (since 5)
WITH due AS MATERIALIZED (
    SELECT n.id FROM {prefix}notices n
    WHERE n.status = 'pending' AND n.next_try_at <= coalesce(:now::timestamptz, now())
    ORDER BY n.next_try_at, n.id LIMIT :limit::bigint
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE {prefix}notices n SET
    tries = n.tries + 1,
    next_try_at = coalesce(:now::timestamptz, now()) + make_interval(secs => :lease_seconds::float8)
FROM due WHERE n.id = due.id
RETURNING n.id;

-- local: give_up_notices (since 5)
UPDATE {prefix}notices n SET status = 'dead', next_try_at = NULL, error = e.error
FROM unnest(:ids::text[], :errors::text[]) AS e (id, error) WHERE n.id = e.id;

-- name: settle_notices (since 5)
-- Not "= 'pending'", lest the planner go through all pending ones instead of looking each up by its id.
UPDATE {prefix}notices n SET
    status = e.status, next_try_at = e.next_try_at, status_code = e.status_code, error = e.error,
    delivered_at = CASE WHEN e.status = 'delivered' THEN coalesce(:now::timestamptz, now()) END
FROM unnest(
    :ids::text[], :tries::bigint[], :statuses::text[], :next_tries_at::timestamptz[], :status_codes::bigint[],
    :errors::text[]
) AS e (id, tries, status, next_try_at, status_code, error)
WHERE n.id = e.id AND n.tries = e.tries AND n.status NOT IN ('delivered', 'dead');

-- name: hasten_notices (since 5)
UPDATE {prefix}notices n SET next_try_at = coalesce(:now::timestamptz, now())
WHERE n.status = 'pending' AND n.webhook = :webhook::text
    AND n.next_try_at > coalesce(:now::timestamptz, now()) + make_interval(secs => :after_seconds::float8);

-- name: next_notice (since 5)
SELECT n.next_try_at, coalesce(:now::timestamptz, clock_timestamp()) FROM {prefix}notices n
WHERE n.status = 'pending' ORDER BY n.next_try_at LIMIT 1;

-- name: list_notices (since 5)
SELECT n.id, n.webhook, n.kind, n.created_at, n.schedule_id, n.run_id, n.user_id, n.data, n.status, n.tries, n.next_try_at,
    n.delivered_at, n.status_code, n.error
FROM {prefix}notices n WHERE {where}
ORDER BY n.id DESC LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: count_notices (since 5)
SELECT count(*) FROM {prefix}notices n WHERE {where};

-- name: notices_of_user
n.user_id = :user_id::text

-- name: notices_of_schedule
n.schedule_id = :schedule_id::text

-- name: notices_of_webhook
n.webhook = :webhook::text

-- name: notices_claimed
n.id = ANY(:ids::text[])

-- name: notices_after
n.id < :cursor_id::text

-- name: retry_notice (since 5)
UPDATE {prefix}notices n SET status = 'pending', tries = 0, next_try_at = coalesce(:now::timestamptz, now())
WHERE n.id = :id::text AND n.status = 'dead' AND (:user_id::text IS NULL OR n.user_id = :user_id::text)
RETURNING n.id;

-- name: prune_notices (since 5)
DELETE FROM {prefix}notices n WHERE n.id IN (
    SELECT o.id FROM {prefix}notices o
    WHERE o.status <> 'pending' AND o.created_at < :before::timestamptz LIMIT :limit::bigint);
