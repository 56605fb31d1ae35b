-- Jobs that have not been tried yet and may not begin any more: their time to start is over. Oldest first, locked.
SELECT id FROM job
WHERE state IN ('scheduled', 'available') AND admitted_at IS NULL AND started_at IS NULL AND start_by <= clock_timestamp()
ORDER BY start_by
LIMIT :limit
FOR UPDATE SKIP LOCKED
