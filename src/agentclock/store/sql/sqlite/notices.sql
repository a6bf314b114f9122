-- name: insert_notices (since 5)
INSERT INTO {prefix}notices (
    id, webhook, kind, created_at, schedule_id, run_id, user_id, data, status, tries, next_try_at
) VALUES (:id, :webhook, :kind, :created_at, :schedule_id, :run_id, :user_id, :data, 'pending', 0, :now)
ON CONFLICT (id) DO NOTHING;

-- name: recovered_runs (since 5)
-- Those before which, in the order of their fires, a run went wrong.
SELECT json_extract(e.value, '$[0]') FROM json_each(:runs) e
WHERE (
    SELECT r.status FROM {prefix}runs r
    WHERE r.schedule_id = json_extract(e.value, '$[1]') AND r.id < json_extract(e.value, '$[0]')
        AND r.cause <> 'backfill' AND r.status IN ('success', 'failed', 'timeout', 'lost')
    ORDER BY r.id DESC LIMIT 1
) IN ('failed', 'timeout', 'lost');

-- local: due_notices (since 5)
SELECT n.id FROM {prefix}notices n
WHERE n.status = 'pending' AND n.next_try_at <= :now
ORDER BY n.next_try_at, n.id LIMIT :limit;

-- local: lease_notices (since 5)
UPDATE {prefix}notices SET tries = tries + 1, next_try_at = :lease_until
WHERE id IN (SELECT value FROM json_each(:ids));

-- local: give_up_notices (since 5)
UPDATE {prefix}notices SET status = 'dead', next_try_at = NULL, error = :error
WHERE id = :id;

-- name: settle_notices (since 5)
UPDATE {prefix}notices SET
    status = :status, next_try_at = :next_try_at, status_code = :status_code, error = :error,
    delivered_at = CASE WHEN :status = 'delivered' THEN :now END
WHERE id = :id AND tries = :tries AND status = 'pending';

-- name: hasten_notices (since 5)
UPDATE {prefix}notices SET next_try_at = :now
WHERE status = 'pending' AND next_try_at > :after AND webhook = :webhook;

-- name: next_notice (since 5)
SELECT min(n.next_try_at) FROM {prefix}notices n WHERE n.status = 'pending';

-- name: list_notices (since 5)
SELECT n.id, n.webhook, n.kind, n.created_at, n.schedule_id, n.run_id, n.user_id, n.data, n.status, n.tries, n.next_try_at,
    n.delivered_at, n.status_code, n.error
FROM {prefix}notices n WHERE {where}
ORDER BY n.id DESC LIMIT :limit OFFSET :offset;

-- name: count_notices (since 5)
SELECT count(*) FROM {prefix}notices n WHERE {where};

-- name: notices_of_user
n.user_id = :user_id

-- name: notices_of_schedule
n.schedule_id = :schedule_id

-- name: notices_of_webhook
n.webhook = :webhook

-- name: notices_claimed
n.id IN (SELECT value FROM json_each(:ids))

-- name: notices_after
n.id < :cursor_id

-- name: retry_notice (since 5)
UPDATE {prefix}notices SET status = 'pending', tries = 0, next_try_at = :now
WHERE id = :id AND status = 'dead' AND (:user_id IS NULL OR user_id = :user_id);

-- name: prune_notices (since 5)
DELETE FROM {prefix}notices WHERE id IN (
    SELECT n.id FROM {prefix}notices n WHERE n.status <> 'pending' AND n.created_at < :before LIMIT :limit);
