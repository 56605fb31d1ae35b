-- A shard of a running attempt that is in nobody's hands: the doorbell's, or any. One that failed somewhere is for its
-- lead alone, and those of attempts that this worker cannot help with are for others. A row that somebody else is just
-- claiming is skipped: it would not be free afterwards. It registers as a lead does (claim_job).
WITH free AS MATERIALIZED (
    SELECT u.job_id, u.no, j.vault_id
    FROM unit u
    JOIN job j ON j.id = u.job_id AND j.epoch = u.epoch AND j.state = 'running' AND j.cancel_requested_at IS NULL
    JOIN unit l ON l.job_id = u.job_id AND l.no = 0 AND l.claim_id IS NOT NULL
    WHERE u.no > 0 AND u.claim_id IS NULL AND u.result IS NULL AND u.losses < :most_losses
      AND (CAST(:job_id AS text) IS NULL OR (u.job_id = :job_id AND u.epoch = :epoch))
      AND (CAST(:unit AS integer) IS NULL OR u.no = :unit)
      AND NOT EXISTS (
          SELECT FROM unnest(CAST(:besides_jobs AS text[]), CAST(:besides_epochs AS bigint[])) AS b (job_id, epoch)
          WHERE b.job_id = u.job_id AND b.epoch = u.epoch
      )
      AND CASE WHEN CAST(:lead_claim_id AS text) IS NULL THEN u.error_code IS NULL ELSE l.claim_id = :lead_claim_id END
    ORDER BY j.admitted_at, u.job_id, u.no
    LIMIT 1
    FOR UPDATE OF u SKIP LOCKED
), current AS MATERIALIZED (
    SELECT g.generation, g.condemned_packs > 0 AS condemned
    FROM vault_generation g
    JOIN free ON free.vault_id = g.vault_id
    FOR SHARE OF g
)
UPDATE unit u
SET claim_id = :claim_id, worker = :worker, session = :session, progress = NULL,
    lease_expires_at = clock_timestamp() + make_interval(secs => :lease), generation = current.generation
FROM free
LEFT JOIN current ON true
WHERE u.job_id = free.job_id AND u.no = free.no
RETURNING u.job_id, u.no, u.epoch, u.payload, coalesce(current.condemned, false) AS condemned
