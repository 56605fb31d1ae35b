-- Shards of the dead: their leases are over, or a newer process has their worker's name. The rest of the job goes on.
WITH lost AS MATERIALIZED (
    SELECT u.job_id, u.no
    FROM unit u
    WHERE u.no > 0 AND u.claim_id IS NOT NULL
      AND CASE WHEN CAST(:worker AS text) IS NULL
          THEN u.lease_expires_at < clock_timestamp() - make_interval(secs => :margin)
          ELSE u.worker = :worker AND u.session <> :session
          END
    ORDER BY u.job_id, u.no
    LIMIT :limit
    FOR UPDATE OF u SKIP LOCKED
), freed AS (
    UPDATE unit u
    SET claim_id = NULL, session = NULL, lease_expires_at = NULL, progress = NULL, losses = u.losses + 1
    FROM lost
    WHERE u.job_id = lost.job_id AND u.no = lost.no
    RETURNING u.job_id, u.epoch, u.no, u.worker, u.losses
), rung AS (
    INSERT INTO outbox (job_id, epoch, unit)
    SELECT job_id, epoch, no FROM freed WHERE losses < :most_losses
)
SELECT job_id, no, worker, losses FROM freed ORDER BY job_id, no
