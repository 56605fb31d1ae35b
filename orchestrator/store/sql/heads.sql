-- The first jobs of the queue that only slots may keep from starting, whatever is full: those that may get a reservation.
WITH held_item AS MATERIALIZED (
    SELECT id FROM item WHERE paused_at IS NOT NULL OR policy = ANY (CAST(:closed AS text[]))
), busy_item AS MATERIALIZED (
    SELECT o.item_id AS id FROM job o
    WHERE o.kind = 'backup' AND (o.state IN ('running', 'committing') OR (o.state = 'available' AND o.admitted_at IS NOT NULL))
), paused_scope AS MATERIALIZED (
    SELECT scope, key FROM slot_scope WHERE paused
), heads AS (
    SELECT c.*
    FROM tenant t
    CROSS JOIN LATERAL (
        SELECT j.id, j.epoch, j.kind, j.item_id, j.machine_id, j.vault_id, j.tenant, j.location, j.hypervisor,
               j.aged_rank, j.latest_start, j.estimate, j.mib_per_second
        FROM job j
        WHERE j.tenant = t.name AND j.state = 'available' AND j.admitted_at IS NULL
          AND (j.trigger = 'demand' OR j.cancel_requested_at IS NOT NULL OR coalesce(j.item_id, '') NOT IN (SELECT id FROM held_item))
          AND (j.kind <> 'backup' OR j.item_id NOT IN (SELECT id FROM busy_item))
          AND coalesce(j.machine_id, '') NOT IN (SELECT key FROM paused_scope WHERE scope = 'machine')
          AND j.vault_id NOT IN (SELECT key FROM paused_scope WHERE scope = 'vault')
          AND NOT EXISTS (SELECT 1 FROM paused_scope WHERE scope = 'global')
          AND j.kind NOT IN (SELECT key FROM paused_scope WHERE scope = 'class')
          AND (j.kind = 'collect' OR j.tenant NOT IN (SELECT key FROM paused_scope WHERE scope = 'tenant'))
          AND j.location NOT IN (SELECT key FROM paused_scope WHERE scope IN ('location', 'bandwidth'))
          AND j.hypervisor NOT IN (SELECT key FROM paused_scope WHERE scope = 'hypervisor')
        ORDER BY j.aged_rank, j.latest_start, j.id
        LIMIT :limit
    ) c
)
SELECT * FROM heads ORDER BY aged_rank, latest_start, id LIMIT :limit
