-- Units are locked in one order by everybody who locks several. A rescue in between clears claim_id, and the row drops out.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(
        CAST(:job_ids AS text[]), CAST(:units AS integer[]), CAST(:epochs AS bigint[]), CAST(:claim_ids AS text[]),
        CAST(:progress AS text[])
    ) AS a (job_id, unit, epoch, claim_id, progress)
), mine AS MATERIALIZED (
    SELECT u.job_id, u.no, a.progress, j.cancel_requested_at IS NOT NULL AS cancel, v.id AS vault_id, v.bandwidth
    FROM unit u
    JOIN asked a ON a.job_id = u.job_id AND a.unit = u.no AND a.claim_id = u.claim_id
    JOIN job j ON j.id = u.job_id AND j.epoch = a.epoch AND j.state IN ('running', 'committing')
    JOIN vault v ON v.id = j.vault_id
    ORDER BY u.job_id, u.no
    FOR UPDATE OF u
)
UPDATE unit u
SET lease_expires_at = clock_timestamp() + make_interval(secs => :lease), progress = CAST(mine.progress AS jsonb)
FROM mine
WHERE u.job_id = mine.job_id AND u.no = mine.no
RETURNING u.job_id, u.no, mine.cancel, mine.vault_id, mine.bandwidth
