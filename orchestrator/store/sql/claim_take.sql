-- The row is locked by claim_doorbell or claim_next; the guard is repeated so that this statement is safe alone.
WITH taken AS (
    UPDATE job
    SET state = 'running', epoch = epoch + 1, attempt = attempt + 1, wait_reason = NULL,
        started_at = coalesce(started_at, clock_timestamp()), attempt_started_at = clock_timestamp()
    WHERE id = :job_id AND epoch = :epoch AND state = 'available' AND admitted_at IS NOT NULL
    RETURNING id, epoch
)
UPDATE unit u
SET claim_id = :claim_id, worker = :worker, session = :session, progress = NULL,
    lease_expires_at = clock_timestamp() + make_interval(secs => :lease)
FROM taken
WHERE u.job_id = taken.id AND u.no = :unit
RETURNING taken.epoch
