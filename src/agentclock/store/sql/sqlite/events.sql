-- local: insert_event
INSERT INTO {prefix}run_events (run_id, seq, attempt, at, type, data, source_index)
VALUES (:run_id, :seq, :attempt, :at, :type, :data, :source_index)
ON CONFLICT (run_id, seq) DO NOTHING;

-- local: forget_events
DELETE FROM {prefix}run_events WHERE run_id = :run_id AND seq < :keep_from_seq;

-- name: event_cursor
-- The newest event, and what it takes to go on from there.
SELECT n.seq,
    (SELECT min(e.seq) FROM {prefix}run_events e WHERE e.run_id = n.run_id),
    n.attempt,
    (SELECT e.source_index FROM {prefix}run_events e
     WHERE e.run_id = n.run_id AND e.attempt = n.attempt AND e.source_index IS NOT NULL
     ORDER BY e.seq DESC LIMIT 1),
    (SELECT coalesce(sum(length(e.data)), 0) FROM {prefix}run_events e WHERE e.run_id = n.run_id)
FROM (
    SELECT e.run_id, e.seq, e.attempt FROM {prefix}run_events e WHERE e.run_id = :id ORDER BY e.seq DESC LIMIT 1
) n;

-- name: events_after
SELECT {event_columns} FROM {prefix}run_events e WHERE e.run_id = :id AND e.seq > :seq ORDER BY e.seq LIMIT :limit;
