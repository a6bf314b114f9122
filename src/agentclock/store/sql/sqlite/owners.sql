-- name: see_owner (since 5)
-- A token counts if it is no older than the one before. One that does not tell its age is older than one that does.
INSERT INTO {prefix}owners AS o (user_id, scopes, issued_at, seen_at)
VALUES (:user_id, :scopes, :issued_at, :now)
ON CONFLICT (user_id) DO UPDATE SET
    seen_at = max(o.seen_at, excluded.seen_at),
    scopes = CASE WHEN o.issued_at IS NULL OR excluded.issued_at >= o.issued_at THEN excluded.scopes ELSE o.scopes END,
    issued_at = CASE WHEN o.issued_at IS NULL OR excluded.issued_at >= o.issued_at THEN excluded.issued_at
        ELSE o.issued_at END;

-- name: get_owner (since 5)
SELECT {owner_columns} FROM {prefix}owners o WHERE o.user_id = :user_id;

-- name: list_owners (since 5)
SELECT {owner_columns} FROM {prefix}owners o
WHERE {where} ORDER BY o.user_id LIMIT :limit OFFSET :offset;

-- name: count_owners (since 5)
SELECT count(*) FROM {prefix}owners o;

-- name: owners_after
o.user_id > :cursor_id

-- name: revoke_owner (since 5)
-- Whoever was never seen is noted without any scope.
INSERT INTO {prefix}owners AS o (user_id, scopes, seen_at, revoked_at, revoked_by)
VALUES (:user_id, '[]', :now, :now, :by)
ON CONFLICT (user_id) DO UPDATE SET revoked_at = excluded.revoked_at, revoked_by = excluded.revoked_by
WHERE o.revoked_at IS NULL;

-- name: restore_owner (since 5)
UPDATE {prefix}owners SET revoked_at = NULL, revoked_by = NULL
WHERE user_id = :user_id AND revoked_at IS NOT NULL;
