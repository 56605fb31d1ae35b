-- Startable jobs only: what is blocked by a full or paused scope, a closed policy, a pause or another backup of the item,
-- or needs more of its location's line than is left, is not read at all, so a wall of blocked jobs never hides a startable
-- one. The blocked things are few and hashed; each tenant's jobs are walked in the order of the index job_queue and the walk
-- ends at the limit. A job that was asked to cancel and still waits only has to find out whether its point exists: neither a
-- window nor a pause keeps it from that. A job that collects is of no machine, no item and nobody's share.
WITH full_scope AS MATERIALIZED (
    SELECT s.scope, s.key, s.paused OR s.in_use >= s.capacity OR b.key IS NOT NULL AS for_restores
    FROM slot_scope s
    LEFT JOIN unnest(CAST(:scopes AS text[]), CAST(:keys AS text[])) AS b (scope, key) ON b.scope = s.scope AND b.key = s.key
    WHERE s.paused OR s.in_use >= s.capacity - s.floor OR b.key IS NOT NULL
), line AS MATERIALIZED (
    SELECT key, capacity, capacity - in_use AS left_over, floor FROM slot_scope WHERE scope = 'bandwidth'
), held_item AS MATERIALIZED (
    SELECT id FROM item WHERE paused_at IS NOT NULL OR policy = ANY (CAST(:closed AS text[]))
), busy_item AS MATERIALIZED (
    SELECT o.item_id AS id FROM job o
    WHERE o.kind = 'backup' AND (o.state IN ('running', 'committing') OR (o.state = 'available' AND o.admitted_at IS NOT NULL))
)
SELECT c.*
FROM tenant t
CROSS JOIN LATERAL (
    SELECT j.id, j.epoch, j.kind, j.item_id, j.machine_id, j.vault_id, j.tenant, j.location, j.hypervisor,
           j.aged_rank, j.latest_start, j.estimate, j.mib_per_second
    FROM job j
    WHERE j.tenant = t.name AND j.state = 'available' AND j.admitted_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM full_scope f WHERE f.scope = 'global' AND (f.for_restores OR j.kind <> 'restore'))
      AND CASE WHEN j.kind = 'restore'
          THEN coalesce(j.machine_id, '') NOT IN (SELECT key FROM full_scope WHERE scope = 'machine' AND for_restores)
           AND j.vault_id NOT IN (SELECT key FROM full_scope WHERE scope = 'vault' AND for_restores)
           AND j.kind NOT IN (SELECT key FROM full_scope WHERE scope = 'class' AND for_restores)
           AND j.tenant NOT IN (SELECT key FROM full_scope WHERE scope = 'tenant' AND for_restores)
           AND j.location NOT IN (SELECT key FROM full_scope WHERE scope IN ('location', 'bandwidth') AND for_restores)
           AND j.hypervisor NOT IN (SELECT key FROM full_scope WHERE scope = 'hypervisor' AND for_restores)
          ELSE coalesce(j.machine_id, '') NOT IN (SELECT key FROM full_scope WHERE scope = 'machine')
           AND j.vault_id NOT IN (SELECT key FROM full_scope WHERE scope = 'vault')
           AND j.kind NOT IN (SELECT key FROM full_scope WHERE scope = 'class')
           AND (j.kind = 'collect' OR j.tenant NOT IN (SELECT key FROM full_scope WHERE scope = 'tenant'))
           AND j.location NOT IN (SELECT key FROM full_scope WHERE scope IN ('location', 'bandwidth'))
           AND j.hypervisor NOT IN (SELECT key FROM full_scope WHERE scope = 'hypervisor')
          END
      AND NOT EXISTS (
          SELECT 1 FROM line
          WHERE line.key = j.location AND least(j.mib_per_second, greatest(1, line.capacity))
              > line.left_over - CASE WHEN j.kind = 'restore' THEN 0 ELSE line.floor END)
      AND (j.trigger = 'demand' OR j.cancel_requested_at IS NOT NULL OR coalesce(j.item_id, '') NOT IN (SELECT id FROM held_item))
      AND (j.kind <> 'backup' OR j.item_id NOT IN (SELECT id FROM busy_item))
    ORDER BY j.aged_rank, j.latest_start, j.id
    LIMIT :limit
    FOR UPDATE OF j SKIP LOCKED
) c
