-- What is due becomes available: what comes for the first time and what lost its worker always; retries only so many, and
-- none of those whose last error trips the breaker.
WITH fresh AS (
    SELECT id FROM job
    WHERE due_at <= clock_timestamp()
      AND (state = 'scheduled' OR (state = 'retryable' AND (error_code = 'worker-lost' OR cancel_requested_at IS NOT NULL)))
    ORDER BY due_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
), again AS (
    SELECT id FROM job
    WHERE due_at <= clock_timestamp() AND state = 'retryable' AND error_code IS DISTINCT FROM 'worker-lost'
      AND cancel_requested_at IS NULL AND (error_code IS NULL OR error_code <> ALL (CAST(:tripped AS text[])))
    ORDER BY due_at
    LIMIT :retries
    FOR UPDATE SKIP LOCKED
), due AS MATERIALIZED (
    SELECT id FROM fresh UNION ALL SELECT id FROM again
)
UPDATE job SET state = 'available', wait_reason = 'admission' FROM due WHERE job.id = due.id
