WITH moved AS (
    UPDATE job
    SET state = 'committing', committing_at = coalesce(committing_at, clock_timestamp())
    WHERE id = :job_id AND epoch = :epoch AND state IN ('running', 'committing')
    RETURNING id
)
UPDATE unit u
SET lease_expires_at = clock_timestamp() + make_interval(secs => :lease)
FROM moved
WHERE u.job_id = moved.id AND u.no = :unit AND u.claim_id = :claim_id
