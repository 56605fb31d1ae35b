-- Shards and their doorbells. Those that are there already were offered by this very attempt: a reply was lost.
WITH offered AS (
    INSERT INTO unit (job_id, no, stage, epoch, payload)
    SELECT :job_id, o.no, 'shard', :epoch, o.payload
    FROM unnest(CAST(:payloads AS bytea[])) WITH ORDINALITY AS o (payload, no)
    ON CONFLICT (job_id, no) DO NOTHING
    RETURNING job_id, epoch, no
)
INSERT INTO outbox (job_id, epoch, unit)
SELECT job_id, epoch, no FROM offered ORDER BY no
