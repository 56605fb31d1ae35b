WITH pending AS MATERIALIZED (
    SELECT id FROM outbox
    WHERE published_at IS NULL AND (taken_until IS NULL OR taken_until < clock_timestamp())
    ORDER BY id
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
UPDATE outbox o
SET taken_until = clock_timestamp() + interval '30 seconds'
FROM pending
WHERE o.id = pending.id
RETURNING o.id, o.job_id, o.epoch, o.unit
