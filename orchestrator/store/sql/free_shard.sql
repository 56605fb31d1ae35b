-- One that failed waits for its lead: whoever was rung for it might fail it again.
WITH freed AS (
    UPDATE unit u
    SET claim_id = NULL, session = NULL, lease_expires_at = NULL, progress = NULL,
        error_code = CAST(:error_code AS text), error_message = CAST(:error_message AS text)
    FROM job j
    WHERE j.id = u.job_id AND j.epoch = u.epoch AND j.state IN ('running', 'committing')
      AND u.job_id = :job_id AND u.no = :unit AND u.epoch = :epoch AND u.claim_id = :claim_id
    RETURNING u.job_id, u.epoch, u.no, u.worker
), rung AS (
    INSERT INTO outbox (job_id, epoch, unit)
    SELECT job_id, epoch, no FROM freed WHERE CAST(:error_code AS text) IS NULL
)
SELECT worker FROM freed
