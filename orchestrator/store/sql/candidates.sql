-- Startable jobs only: what is blocked by a full or paused scope, a closed window, a pause or another backup of the item
-- is not read at all, so a wall of blocked jobs never hides a startable one. The blocked things are few and hashed; the
-- jobs are walked in the order of the index job_queue and the walk ends at the limit. A job that was asked to cancel and
-- still waits only has to find out whether its point exists: neither a window nor a pause keeps it from that.
SELECT j.id, j.epoch, j.kind, j.item_id, j.machine_id, j.vault_id
FROM job j
WHERE j.state = 'available' AND j.admitted_at IS NULL
  AND CASE WHEN j.kind = 'restore'
      THEN (SELECT NOT g.paused AND g.in_use < g.capacity FROM slot_scope g WHERE g.scope = 'global' AND g.key = '')
       AND j.machine_id NOT IN (SELECT key FROM slot_scope WHERE scope = 'machine' AND (paused OR in_use >= capacity))
       AND j.vault_id NOT IN (SELECT key FROM slot_scope WHERE scope = 'vault' AND (paused OR in_use >= capacity))
      ELSE (SELECT NOT g.paused AND g.in_use < g.capacity - g.floor
            FROM slot_scope g WHERE g.scope = 'global' AND g.key = '')
       AND j.machine_id NOT IN (
            SELECT key FROM slot_scope WHERE scope = 'machine' AND (paused OR in_use >= capacity - floor))
       AND j.vault_id NOT IN (
            SELECT key FROM slot_scope WHERE scope = 'vault' AND (paused OR in_use >= capacity - floor))
      END
  AND (j.trigger = 'demand' OR j.cancel_requested_at IS NOT NULL
       OR j.item_id NOT IN (SELECT id FROM item WHERE paused_at IS NOT NULL OR policy = ANY (CAST(:closed AS text[]))))
  AND (j.kind <> 'backup' OR j.item_id NOT IN (
        SELECT o.item_id FROM job o
        WHERE o.kind = 'backup'
          AND (o.state IN ('running', 'committing') OR (o.state = 'available' AND o.admitted_at IS NOT NULL))))
ORDER BY j.rank, j.created_at, j.id
LIMIT :limit
FOR UPDATE OF j SKIP LOCKED
