-- Doorbells are written in the order in which the jobs were chosen: few workers then fly what is most urgent.
WITH chosen AS MATERIALIZED (
    SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:epochs AS bigint[])) WITH ORDINALITY AS c (id, epoch, place)
), admitted AS (
    UPDATE job
    SET admitted_at = clock_timestamp(), rung_at = clock_timestamp(), epoch = job.epoch + 1, wait_reason = 'worker'
    FROM chosen
    WHERE job.id = chosen.id AND job.epoch = chosen.epoch AND job.state = 'available' AND job.admitted_at IS NULL
    RETURNING job.id, job.epoch, chosen.place
)
INSERT INTO outbox (job_id, epoch, unit)
SELECT id, epoch, 0 FROM admitted ORDER BY place
