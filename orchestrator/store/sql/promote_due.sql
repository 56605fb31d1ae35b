WITH due AS MATERIALIZED (
    SELECT id FROM job
    WHERE state IN ('scheduled', 'retryable') AND due_at <= clock_timestamp()
    ORDER BY due_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
UPDATE job SET state = 'available', wait_reason = 'admission' FROM due WHERE job.id = due.id
