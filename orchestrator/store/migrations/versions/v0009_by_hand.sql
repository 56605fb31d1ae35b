-- The next step in the words of the worker, where it knows better than the registry what to do about the code. Jobs that ended
-- before have it in their message.
ALTER TABLE job ADD COLUMN error_hint text;

-- Whose points are still there, under a name that a living item may have again.
CREATE INDEX item_removed ON item (name, id) WHERE removed_at IS NOT NULL;
