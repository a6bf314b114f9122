-- name: trigger_key (since 5)
SELECT k.fingerprint, k.run_id FROM {prefix}trigger_keys k
WHERE k.schedule_id = :schedule_id AND k.key = :key
    AND k.created_at >= coalesce(:now::timestamptz, now()) - make_interval(hours => :hours::int);

-- name: put_trigger_key (since 5)
-- In place of one that is too old to count, or whose run is gone.
INSERT INTO {prefix}trigger_keys (schedule_id, key, fingerprint, run_id, created_at)
VALUES (:schedule_id, :key, :fingerprint, :run_id::uuid, coalesce(:now::timestamptz, now()))
ON CONFLICT (schedule_id, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, run_id = excluded.run_id, created_at = excluded.created_at;

-- name: prune_trigger_keys (since 5)
DELETE FROM {prefix}trigger_keys k USING (
    SELECT o.schedule_id, o.key FROM {prefix}trigger_keys o
    WHERE o.created_at < coalesce(:now::timestamptz, now()) - make_interval(hours => :hours::int)
    LIMIT :limit::bigint
    FOR UPDATE SKIP LOCKED
) old
WHERE k.schedule_id = old.schedule_id AND k.key = old.key;
