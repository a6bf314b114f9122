-- What became of fires, counted by time; how much a worker can do at a time; which run another one does again; and what
-- schedules are searched by. Older code goes on working: what it does not name is nullable.
ALTER TABLE {prefix}workers ADD COLUMN slots bigint;

ALTER TABLE {prefix}runs ADD COLUMN retry_of text;

-- What a schedule says of itself besides its name, without regard to case. Only where it is more than plain ASCII, whose
-- letters every database knows.
ALTER TABLE {prefix}schedules ADD COLUMN folded_text text;

-- Written once for each run, when it is over. All that counting asks for, so that runs themselves are not read. The
-- second condition holds for all runs: only who names it gets this index, and nobody who wants runs in order.
CREATE INDEX runs_fires ON {prefix}runs (status, fire_at, schedule_id, user_id)
    WHERE status NOT IN ('pending', 'running', 'paused') AND cause <> '';
