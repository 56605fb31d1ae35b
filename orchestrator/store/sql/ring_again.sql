-- A doorbell that still waits for the broker is not written twice.
WITH silent AS MATERIALIZED (
    SELECT j.id, j.epoch
    FROM job j
    WHERE j.state = 'available' AND j.admitted_at IS NOT NULL
      AND j.rung_at < clock_timestamp() - make_interval(secs => :after)
      AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.job_id = j.id AND o.epoch = j.epoch AND o.published_at IS NULL)
    ORDER BY j.rung_at
    LIMIT 1000
    FOR UPDATE OF j SKIP LOCKED
), rung AS (
    UPDATE job SET rung_at = clock_timestamp() FROM silent WHERE job.id = silent.id RETURNING job.id, job.epoch
)
INSERT INTO outbox (job_id, epoch, unit)
SELECT id, epoch, 0 FROM rung
