-- local: append_events
-- The runs' rows are locked, in id order, so that nobody takes a run over between the look at its fence and the end of
-- this transaction. Their state is looked at in a step of its own, for the planner would rather go through all that are
-- running than find them by their ids.
WITH locked AS MATERIALIZED (
    SELECT b.number, b.run_id, b.keep_from_seq, r.status
    FROM unnest(:run_ids::uuid[], :fences::bigint[], :keep_from_seqs::bigint[])
        WITH ORDINALITY AS b (run_id, fence, keep_from_seq, number)
    JOIN {prefix}runs r ON r.id = b.run_id AND r.fence = b.fence
    ORDER BY r.id FOR SHARE OF r
), held AS MATERIALIZED (
    SELECT locked.number, locked.run_id, locked.keep_from_seq FROM locked WHERE locked.status = 'running'
), written AS (
    INSERT INTO {prefix}run_events (run_id, seq, attempt, at, type, data, source_index)
    SELECT held.run_id, e.seq, e.attempt, e.at, e.type, e.data, e.source_index
    FROM held JOIN unnest(
        :batch_numbers::bigint[], :seqs::bigint[], :attempts::bigint[], :at::timestamptz[], :types::text[],
        :data::text[], :source_indexes::bigint[]
    ) AS e (number, seq, attempt, at, type, data, source_index) ON e.number = held.number
    WHERE e.seq >= held.keep_from_seq
    ON CONFLICT (run_id, seq) DO NOTHING
), forgotten AS (
    DELETE FROM {prefix}run_events e USING held
    WHERE held.keep_from_seq > 1 AND e.run_id = held.run_id AND e.seq < held.keep_from_seq
)
SELECT DISTINCT held.run_id FROM held;

-- name: event_cursor
-- The newest event, and what it takes to go on from there.
SELECT n.seq,
    (SELECT min(e.seq) FROM {prefix}run_events e WHERE e.run_id = n.run_id),
    n.attempt,
    (SELECT e.source_index FROM {prefix}run_events e
     WHERE e.run_id = n.run_id AND e.attempt = n.attempt AND e.source_index IS NOT NULL
     ORDER BY e.seq DESC LIMIT 1),
    (SELECT coalesce(sum(octet_length(e.data)), 0)::bigint FROM {prefix}run_events e WHERE e.run_id = n.run_id)
FROM (
    SELECT e.run_id, e.seq, e.attempt FROM {prefix}run_events e
    WHERE e.run_id = :id::uuid ORDER BY e.seq DESC LIMIT 1
) n;

-- name: events_after
SELECT {event_columns} FROM {prefix}run_events e
WHERE e.run_id = :id::uuid AND e.seq > :seq::bigint ORDER BY e.seq LIMIT :limit::bigint;
