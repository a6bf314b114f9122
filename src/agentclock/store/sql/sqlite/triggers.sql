-- name: trigger_key (since 5)
SELECT k.fingerprint, k.run_id FROM {prefix}trigger_keys k
WHERE k.schedule_id = :schedule_id AND k.key = :key AND k.created_at >= :now - 3600000 * :hours;

-- name: put_trigger_key (since 5)
-- In place of one that is too old to count, or whose run is gone.
INSERT INTO {prefix}trigger_keys (schedule_id, key, fingerprint, run_id, created_at)
VALUES (:schedule_id, :key, :fingerprint, :run_id, :now)
ON CONFLICT (schedule_id, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, run_id = excluded.run_id, created_at = excluded.created_at;

-- name: prune_trigger_keys (since 5)
DELETE FROM {prefix}trigger_keys WHERE (schedule_id, key) IN (
    SELECT o.schedule_id, o.key FROM {prefix}trigger_keys o
    WHERE o.created_at < :now - 3600000 * :hours LIMIT :limit);
