-- The row is locked by claim_doorbell or claim_next; the guard is repeated so that this statement is safe alone.
-- A backup registers: it keeps the generation of its vault, under a lock that waits for a condemnation and makes the next
-- one wait. A job that once had leave to seal keeps its first generation: whoever got that leave may still be sealing.
WITH current AS MATERIALIZED (
    SELECT g.generation, g.condemned_packs > 0 AS condemned
    FROM vault_generation g
    JOIN job j ON j.vault_id = g.vault_id
    WHERE j.id = :job_id AND j.kind = 'backup'
    FOR SHARE OF g
), taken AS (
    UPDATE job
    SET state = 'running', epoch = epoch + 1, attempt = attempt + 1, wait_reason = NULL,
        started_at = coalesce(started_at, clock_timestamp()), attempt_started_at = clock_timestamp()
    WHERE id = :job_id AND epoch = :epoch AND state = 'available' AND admitted_at IS NOT NULL
    RETURNING id, epoch, committing_at IS NOT NULL AS may_have_sealed
)
UPDATE unit u
SET claim_id = :claim_id, worker = :worker, session = :session, progress = NULL,
    lease_expires_at = clock_timestamp() + make_interval(secs => :lease),
    generation = CASE WHEN taken.may_have_sealed THEN u.generation ELSE current.generation END
FROM taken
LEFT JOIN current ON true
WHERE u.job_id = taken.id AND u.no = :unit
RETURNING taken.epoch, coalesce(current.condemned, false) AS condemned
