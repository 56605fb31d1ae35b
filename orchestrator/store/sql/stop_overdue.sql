-- Running jobs whose time to finish is over are asked to stop, once. One that is sealing its point goes on.
WITH late AS MATERIALIZED (
    SELECT id FROM job
    WHERE state = 'running' AND finish_by <= clock_timestamp() AND cancel_requested_at IS NULL
    ORDER BY finish_by
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
UPDATE job SET cancel_requested_at = clock_timestamp(), cancel_reason = 'finish-by'
FROM late
WHERE job.id = late.id
RETURNING job.id
