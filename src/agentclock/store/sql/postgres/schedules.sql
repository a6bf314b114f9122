-- local: ruling_time
SELECT coalesce(:now::timestamptz, clock_timestamp());

-- local: insert_schedules
-- One statement for any number of schedules; the arrays hold a column each.
INSERT INTO {prefix}schedules (
    id, name, description, user_id, target, method, endpoint, payload, cron_expr, run_at, interval_seconds, anchor_at,
    timezone, start_at, end_at, max_runs, jitter_seconds, overlap, catch_up, catch_up_window_seconds,
    {since 4: catch_up_limit, catch_up_stagger_seconds, ping_url,}
    misfire_grace_seconds, timeout_seconds, idle_timeout_seconds, approval_timeout_seconds, approval_timeout_action,
    on_lost, max_retries, retry_delay_seconds, retry_backoff, retry_max_delay_seconds, tags, enabled, disabled_reason,
    managed_by, provenance, next_fire_at, last_fire_at, run_count, timetable_since, zone_data_version, version,
    created_at, updated_at, folded_name {since 6: , folded_text}
) SELECT * FROM unnest(
    :id::text[], :name::text[], :description::text[], :user_id::text[], :target::text[], :method::text[],
    :endpoint::text[], :payload::text[], :cron_expr::text[], :run_at::timestamptz[], :interval_seconds::bigint[],
    :anchor_at::timestamptz[], :timezone::text[], :start_at::timestamptz[], :end_at::timestamptz[],
    :max_runs::bigint[], :jitter_seconds::bigint[], :overlap::text[], :catch_up::text[],
    :catch_up_window_seconds::bigint[],
    {since 4: :catch_up_limit::bigint[], :catch_up_stagger_seconds::bigint[], :ping_url::text[],}
    :misfire_grace_seconds::bigint[], :timeout_seconds::bigint[],
    :idle_timeout_seconds::bigint[], :approval_timeout_seconds::bigint[], :approval_timeout_action::text[],
    :on_lost::text[], :max_retries::bigint[], :retry_delay_seconds::bigint[], :retry_backoff::text[],
    :retry_max_delay_seconds::bigint[], :tags::text[], :enabled::boolean[], :disabled_reason::text[],
    :managed_by::text[], :provenance::text[], :next_fire_at::timestamptz[], :last_fire_at::timestamptz[],
    :run_count::bigint[], :timetable_since::timestamptz[], :zone_data_version::text[], :version::bigint[],
    :created_at::timestamptz[], :updated_at::timestamptz[], :folded_name::text[]
    {since 6: , :folded_text::text[]}
);

-- local: lock_owners
SELECT pg_advisory_xact_lock(k.key) FROM unnest(:keys::bigint[]) AS k (key);

-- local: taken_ids
SELECT s.id FROM {prefix}schedules s WHERE s.id = ANY(:ids::text[]) LIMIT 1;

-- local: taken_names
SELECT n.name FROM unnest(:names::text[], :user_ids::text[]) AS n (name, user_id)
JOIN {prefix}schedules s ON s.name = n.name AND coalesce(s.user_id, '') = coalesce(n.user_id, '')
WHERE s.deleted_at IS NULL LIMIT 1;

-- name: get_schedule
SELECT {schedule_columns} FROM {prefix}schedules s
WHERE s.id = :id AND s.deleted_at IS NULL AND (:user_id::text IS NULL OR s.user_id = :user_id);

-- local: lock_schedule
SELECT {schedule_columns}, coalesce(:now::timestamptz, now()) AS now FROM {prefix}schedules s
WHERE s.id = :id AND s.deleted_at IS NULL AND (:user_id::text IS NULL OR s.user_id = :user_id)
FOR NO KEY UPDATE;

-- local: lock_schedules
-- In one order, so that two who want the same ones do not wait for each other.
SELECT {schedule_columns}, coalesce(:now::timestamptz, now()) AS now FROM {prefix}schedules s
WHERE s.id = ANY(:ids::text[]) AND s.deleted_at IS NULL AND (:user_id::text IS NULL OR s.user_id = :user_id)
ORDER BY s.id
FOR NO KEY UPDATE;

-- local: names_in_use
-- Of schedules that are to be renamed: by others.
SELECT n.name FROM unnest(:ids::text[], :names::text[], :user_ids::text[]) AS n (id, name, user_id)
JOIN {prefix}schedules s ON s.name = n.name AND coalesce(s.user_id, '') = coalesce(n.user_id, '')
WHERE s.deleted_at IS NULL AND s.id <> n.id LIMIT 1;

-- local: schedules_by_id
SELECT {schedule_columns} FROM {prefix}schedules s WHERE s.id = ANY(:ids::text[]);

-- name: update_schedule
UPDATE {prefix}schedules SET
    name = :name, folded_name = :folded_name, {since 6: folded_text = :folded_text,} description = :description, user_id = :user_id, target = :target,
    method = :method, endpoint = :endpoint, payload = :payload, cron_expr = :cron_expr, run_at = :run_at,
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
UPDATE {prefix}schedules SET
    deleted_at = coalesce(:now::timestamptz, now()), enabled = false, next_fire_at = NULL, version = version + 1
WHERE id = :id AND deleted_at IS NULL AND (:user_id::text IS NULL OR user_id = :user_id)
RETURNING id;

-- name: insert_revisions (since 4)
INSERT INTO {prefix}schedule_revisions (schedule_id, version, at, changed_by, kind, body)
SELECT * FROM unnest(
    :schedule_ids::text[], :versions::bigint[], :at::timestamptz[], :changed_by::text[], :kinds::text[], :bodies::text[]
)
ON CONFLICT (schedule_id, version) DO NOTHING;

-- name: revisions (since 4)
SELECT v.schedule_id, v.version, v.at, v.changed_by, v.kind, v.body FROM {prefix}schedule_revisions v
WHERE v.schedule_id = :schedule_id::text ORDER BY v.version DESC LIMIT :limit::bigint;

-- name: list_schedules
SELECT {schedule_columns} FROM {prefix}schedules s
WHERE s.deleted_at IS NULL AND {where}
ORDER BY s.created_at DESC, s.id DESC LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: list_schedules_by_fire
-- No index gives this order: only what is needed for it is sorted, and then the page is read.
SELECT {schedule_columns}, p.key
FROM (
    SELECT s.id, CASE WHEN s.enabled THEN coalesce(s.next_fire_at, :never::timestamptz) ELSE :never::timestamptz END AS key
    FROM {prefix}schedules s
    WHERE s.deleted_at IS NULL AND {where}
    ORDER BY key, s.id LIMIT :limit::bigint OFFSET :offset::bigint
) p JOIN {prefix}schedules s ON s.id = p.id
ORDER BY p.key, p.id;

-- name: list_schedules_by_name
-- Likewise.
SELECT {schedule_columns}, p.key
FROM (
    SELECT s.id, s.folded_name COLLATE "C" AS key
    FROM {prefix}schedules s
    WHERE s.deleted_at IS NULL AND {where}
    ORDER BY key, s.id LIMIT :limit::bigint OFFSET :offset::bigint
) p JOIN {prefix}schedules s ON s.id = p.id
ORDER BY p.key, p.id;

-- name: matching_schedules
SELECT s.id FROM {prefix}schedules s WHERE s.deleted_at IS NULL AND {where};

-- name: briefs
SELECT {brief_columns} FROM {prefix}schedules s
WHERE s.deleted_at IS NULL AND {where} ORDER BY s.created_at DESC, s.id DESC LIMIT :limit::bigint;

-- name: briefs_by_fire
SELECT {brief_columns} FROM {prefix}schedules s
WHERE s.deleted_at IS NULL AND {where}
ORDER BY CASE WHEN s.enabled THEN coalesce(s.next_fire_at, :never::timestamptz) ELSE :never::timestamptz END, s.id LIMIT :limit::bigint;

-- name: briefs_by_name
SELECT {brief_columns} FROM {prefix}schedules s
WHERE s.deleted_at IS NULL AND {where}
ORDER BY s.folded_name COLLATE "C", s.id LIMIT :limit::bigint;

-- name: count_schedules
SELECT count(*) FROM {prefix}schedules s WHERE s.deleted_at IS NULL AND {where};

-- name: schedules_of_user
coalesce(s.user_id, '') = :user_id AND s.user_id IS NOT NULL

-- name: schedules_named
-- By the index that keeps names apart, one owner after the other: an index of names alone would be written anew at every
-- fire.
s.id = ANY(ARRAY(
    WITH RECURSIVE owners (user_id) AS (
        SELECT min(coalesce(o.user_id, '')) FROM {prefix}schedules o WHERE o.deleted_at IS NULL
        UNION ALL
        SELECT (SELECT min(coalesce(o.user_id, '')) FROM {prefix}schedules o
                WHERE coalesce(o.user_id, '') > owners.user_id AND o.deleted_at IS NULL)
        FROM owners WHERE owners.user_id IS NOT NULL
    )
    SELECT n.id FROM owners JOIN {prefix}schedules n
        ON coalesce(n.user_id, '') = owners.user_id AND n.name = :name AND n.deleted_at IS NULL))

-- name: schedules_of_user_named
s.name = :name

-- name: count_of_owner
-- No further than to what is allowed.
SELECT count(*) FROM (
    SELECT 1 FROM {prefix}schedules s
    WHERE coalesce(s.user_id, '') = :user_id AND s.user_id IS NOT NULL AND s.deleted_at IS NULL
    LIMIT :most::bigint) c;

-- name: schedules_named_like
strpos(s.folded_name, :folded_name) > 0

-- name: schedules_tagged
-- The tag as it stands in JSON text, quotes and all: no other text inside the list can look like it.
strpos(s.tags, :tag_json) > 0

-- name: schedules_calling
s.target = :target OR s.endpoint = :target OR s.method = 'POST' AND rtrim(s.endpoint, '/') IN
    ('/agents/' || :target || '/runs', '/teams/' || :target || '/runs', '/workflows/' || :target || '/runs')

-- name: schedules_saying
-- Tags as they stand in JSON text, without what is around and between them.
strpos(s.folded_name, :text) > 0 OR strpos(lower(s.endpoint COLLATE "C"), :text) > 0
OR strpos(lower(s.description COLLATE "C"), :text) > 0
{since 6: OR strpos(s.folded_text, :text) > 0}
OR {since 6: s.folded_text IS NULL AND} s.tags <> '[]' AND strpos(
    lower(replace(left(substr(s.tags, 3), -2), '","', chr(31)) COLLATE "C"), :text_in_json) > 0

-- name: schedules_of_ids
s.id = ANY(:ids::text[])

-- name: schedules_of_names
s.name IN (SELECT unnest(:names::text[]))

-- name: schedules_managed_by
s.managed_by = :managed_by

-- name: schedules_after
(s.created_at, s.id) < (:cursor_created_at::timestamptz, :cursor_id)

-- name: schedules_after_fire
(CASE WHEN s.enabled THEN coalesce(s.next_fire_at, :never::timestamptz) ELSE :never::timestamptz END, s.id)
    > (:cursor_key::timestamptz, :cursor_id)

-- name: schedules_after_name
(s.folded_name COLLATE "C", s.id) > (:cursor_key, :cursor_id)

-- name: stale_zone_schedules
SELECT s.id FROM {prefix}schedules s
WHERE s.enabled AND s.deleted_at IS NULL AND s.next_fire_at IS NOT NULL AND s.cron_expr IS NOT NULL
    AND s.zone_data_version IS DISTINCT FROM :version
ORDER BY s.next_fire_at LIMIT :limit::bigint;

-- name: schedules_since
-- The newest of each kind by an index of its own, then of them all.
SELECT n.id, n.version FROM (
    SELECT * FROM (
        SELECT s.id, s.version, s.created_at AS at FROM {prefix}schedules s
        WHERE s.created_at >= :since::timestamptz AND s.deleted_at IS NULL ORDER BY s.created_at DESC LIMIT :limit::bigint) c
    UNION ALL
    SELECT * FROM (
        SELECT s.id, s.version, s.updated_at FROM {prefix}schedules s
        WHERE s.updated_at >= :since::timestamptz AND s.updated_at IS NOT NULL ORDER BY s.updated_at DESC LIMIT :limit::bigint) u
    UNION ALL
    SELECT * FROM (
        SELECT s.id, s.version, s.deleted_at FROM {prefix}schedules s
        WHERE s.deleted_at >= :since::timestamptz AND s.deleted_at IS NOT NULL ORDER BY s.deleted_at DESC LIMIT :limit::bigint) d
) n
GROUP BY n.id, n.version ORDER BY max(n.at) DESC LIMIT :limit::bigint;
