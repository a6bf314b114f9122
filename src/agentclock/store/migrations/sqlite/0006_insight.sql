-- What became of fires, counted by time; how much a worker can do at a time; and which run another one does again. Older
-- code goes on working: what it does not name is nullable.

ALTER TABLE {prefix}workers ADD COLUMN slots INTEGER;
ALTER TABLE {prefix}runs ADD COLUMN retry_of TEXT;

-- Written once for each run, when it is over. All that counting asks for, so that runs themselves are not read.
CREATE INDEX {prefix}runs_fires ON {prefix}runs (status, fire_at, schedule_id, user_id)
    WHERE status NOT IN ('pending', 'running', 'paused');
