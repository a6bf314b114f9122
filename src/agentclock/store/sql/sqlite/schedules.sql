-- local: insert_schedule
INSERT INTO {prefix}schedules (
    id, name, description, user_id, target, method, endpoint, payload, cron_expr, run_at, interval_seconds, anchor_at,
    timezone, start_at, end_at, max_runs, jitter_seconds, overlap, catch_up, catch_up_window_seconds,
    {since 4: catch_up_limit, catch_up_stagger_seconds, ping_url,}
    misfire_grace_seconds, timeout_seconds, idle_timeout_seconds, approval_timeout_seconds, approval_timeout_action,
    on_lost, max_retries, retry_delay_seconds, retry_backoff, retry_max_delay_seconds, tags, enabled, disabled_reason,
    managed_by, provenance, next_fire_at, last_fire_at, run_count, timetable_since, zone_data_version, version,
    created_at, updated_at
) VALUES (
    :id, :name, :description, :user_id, :target, :method, :endpoint, :payload, :cron_expr, :run_at,
    :interval_seconds, :anchor_at, :timezone, :start_at, :end_at, :max_runs, :jitter_seconds, :overlap, :catch_up,
    :catch_up_window_seconds, {since 4: :catch_up_limit, :catch_up_stagger_seconds, :ping_url,}
    :misfire_grace_seconds, :timeout_seconds, :idle_timeout_seconds,
    :approval_timeout_seconds, :approval_timeout_action, :on_lost, :max_retries, :retry_delay_seconds, :retry_backoff,
    :retry_max_delay_seconds, :tags, :enabled, :disabled_reason, :managed_by, :provenance, :next_fire_at,
    :last_fire_at, :run_count, :timetable_since, :zone_data_version, :version, :created_at, :updated_at
);

-- name: get_schedule
SELECT {schedule_columns} FROM {prefix}schedules s
WHERE s.id = :id AND s.deleted_at IS NULL AND (:user_id IS NULL OR s.user_id = :user_id);

-- name: update_schedule
UPDATE {prefix}schedules SET
    name = :name, description = :description, user_id = :user_id, target = :target, method = :method,
    endpoint = :endpoint, payload = :payload, cron_expr = :cron_expr, run_at = :run_at,
    interval_seconds = :interval_seconds, anchor_at = :anchor_at, timezone = :timezone, start_at = :start_at,
    end_at = :end_at, max_runs = :max_runs, jitter_seconds = :jitter_seconds, overlap = :overlap,
    catch_up = :catch_up, catch_up_window_seconds = :catch_up_window_seconds,
    {since 4:
        catch_up_limit = :catch_up_limit, catch_up_stagger_seconds = :catch_up_stagger_seconds, ping_url = :ping_url,}
    misfire_grace_seconds = :misfire_grace_seconds, timeout_seconds = :timeout_seconds,
    idle_timeout_seconds = :idle_timeout_seconds, approval_timeout_seconds = :approval_timeout_seconds,
    approval_timeout_action = :approval_timeout_action, on_lost = :on_lost, max_retries = :max_retries,
    retry_delay_seconds = :retry_delay_seconds, retry_backoff = :retry_backoff,
    retry_max_delay_seconds = :retry_max_delay_seconds, tags = :tags, enabled = :enabled,
    disabled_reason = :disabled_reason, managed_by = :managed_by, provenance = :provenance,
    next_fire_at = :next_fire_at, last_fire_at = :last_fire_at, run_count = :run_count,
    timetable_since = :timetable_since, zone_data_version = :zone_data_version, version = :version,
    updated_at = :updated_at
WHERE id = :id;

-- name: delete_schedule
UPDATE {prefix}schedules SET deleted_at = :now, enabled = 0, next_fire_at = NULL, version = version + 1
WHERE id = :id AND deleted_at IS NULL AND (:user_id IS NULL OR user_id = :user_id);

-- name: insert_revisions (since 4)
INSERT INTO {prefix}schedule_revisions (schedule_id, version, at, changed_by, kind, body)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]')
FROM json_each(:rows) WHERE true
ON CONFLICT (schedule_id, version) DO NOTHING;

-- name: revisions (since 4)
SELECT v.schedule_id, v.version, v.at, v.changed_by, v.kind, v.body FROM {prefix}schedule_revisions v
WHERE v.schedule_id = :schedule_id ORDER BY v.version DESC LIMIT :limit;

-- name: list_schedules
SELECT {schedule_columns} FROM {prefix}schedules s
WHERE s.deleted_at IS NULL AND {where}
ORDER BY s.created_at DESC, s.id DESC LIMIT :limit OFFSET :offset;

-- name: list_schedules_by_fire
-- No index gives this order: only what is needed for it is sorted, and then the page is read.
SELECT {schedule_columns}, p.key
FROM (
    SELECT s.id, CASE WHEN s.enabled THEN coalesce(s.next_fire_at, :never) ELSE :never END AS key
    FROM {prefix}schedules s
    WHERE s.deleted_at IS NULL AND {where}
    ORDER BY key, s.id LIMIT :limit OFFSET :offset
) p CROSS JOIN {prefix}schedules s ON s.id = p.id
ORDER BY p.key, p.id;

-- name: list_schedules_by_name
-- Likewise.
SELECT {schedule_columns}, p.key
FROM (
    SELECT s.id, agentclock_fold(s.name) AS key
    FROM {prefix}schedules s
    WHERE s.deleted_at IS NULL AND {where}
    ORDER BY key, s.id LIMIT :limit OFFSET :offset
) p CROSS JOIN {prefix}schedules s ON s.id = p.id
ORDER BY p.key, p.id;

-- name: matching_schedules
SELECT s.id FROM {prefix}schedules s WHERE s.deleted_at IS NULL AND {where};

-- name: briefs
SELECT {brief_columns} FROM {prefix}schedules s
WHERE s.deleted_at IS NULL AND {where} ORDER BY s.created_at DESC, s.id DESC LIMIT :limit;

-- name: briefs_by_fire
SELECT {brief_columns} FROM {prefix}schedules s
WHERE s.deleted_at IS NULL AND {where}
ORDER BY CASE WHEN s.enabled THEN coalesce(s.next_fire_at, :never) ELSE :never END, s.id LIMIT :limit;

-- name: briefs_by_name
SELECT {brief_columns} FROM {prefix}schedules s
WHERE s.deleted_at IS NULL AND {where}
ORDER BY agentclock_fold(s.name), s.id LIMIT :limit;

-- name: count_schedules
SELECT count(*) FROM {prefix}schedules s WHERE s.deleted_at IS NULL AND {where};

-- name: schedules_of_user
coalesce(s.user_id, '') = :user_id AND s.user_id IS NOT NULL

-- name: schedules_named
s.name = :name

-- name: schedules_of_user_named
s.name = :name

-- name: count_of_owner
-- No further than to what is allowed.
SELECT count(*) FROM (
    SELECT 1 FROM {prefix}schedules s
    WHERE coalesce(s.user_id, '') = :user_id AND s.user_id IS NOT NULL AND s.deleted_at IS NULL
    LIMIT :most) c;

-- name: schedules_named_like
instr(agentclock_fold(s.name), agentclock_fold(:name_contains)) > 0

-- name: schedules_tagged
agentclock_has_tag(s.tags, :tag)

-- name: schedules_calling
s.target = :target OR s.endpoint = :target OR s.method = 'POST' AND rtrim(s.endpoint, '/') IN
    ('/agents/' || :target || '/runs', '/teams/' || :target || '/runs', '/workflows/' || :target || '/runs')

-- name: schedules_saying
agentclock_says(:text, s.name, s.endpoint, s.description, s.tags)

-- name: schedules_of_ids
s.id IN (SELECT value FROM json_each(:ids))

-- name: schedules_of_names
s.name IN (SELECT value FROM json_each(:names))

-- name: schedules_managed_by
s.managed_by = :managed_by

-- name: schedules_after
(s.created_at, s.id) < (:cursor_created_at, :cursor_id)

-- name: schedules_after_fire
(CASE WHEN s.enabled THEN coalesce(s.next_fire_at, :never) ELSE :never END, s.id) > (:cursor_key, :cursor_id)

-- name: schedules_after_name
(agentclock_fold(s.name), s.id) > (:cursor_key, :cursor_id)

-- name: stale_zone_schedules
SELECT s.id FROM {prefix}schedules s
WHERE s.enabled AND s.deleted_at IS NULL AND s.next_fire_at IS NOT NULL AND s.cron_expr IS NOT NULL
    AND s.zone_data_version IS NOT :version
ORDER BY s.next_fire_at LIMIT :limit;

-- name: schedules_since
-- The newest of each kind by an index of its own, then of them all.
SELECT n.id, n.version FROM (
    SELECT * FROM (
        SELECT s.id, s.version, s.created_at AS at FROM {prefix}schedules s
        WHERE s.created_at >= :since AND s.deleted_at IS NULL ORDER BY s.created_at DESC LIMIT :limit) c
    UNION ALL
    SELECT * FROM (
        SELECT s.id, s.version, s.updated_at FROM {prefix}schedules s
        WHERE s.updated_at >= :since AND s.updated_at IS NOT NULL ORDER BY s.updated_at DESC LIMIT :limit) u
    UNION ALL
    SELECT * FROM (
        SELECT s.id, s.version, s.deleted_at FROM {prefix}schedules s
        WHERE s.deleted_at >= :since AND s.deleted_at IS NOT NULL ORDER BY s.deleted_at DESC LIMIT :limit) d
) n
GROUP BY n.id, n.version ORDER BY max(n.at) DESC LIMIT :limit;
