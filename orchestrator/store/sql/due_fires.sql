-- Whole items only: what becomes of one fire depends on the item's other due ones.
WITH items AS MATERIALIZED (
    SELECT i.id
    FROM item i
    WHERE i.removed_at IS NULL AND i.paused_at IS NULL
      AND i.id IN (SELECT f.item_id FROM fire f WHERE f.state = 'planned' AND f.due_at <= :now)
    ORDER BY i.id
    LIMIT :limit
    FOR UPDATE OF i SKIP LOCKED
)
SELECT f.item_id, f.schedule_no, f.nominal, f.zone, f.due_at, f.version_id, v.spec, i.machine_id, i.vault_id,
       i.planned_through, i.created_at, i.newest_point_at, i.rpo_seconds, i.recent_seconds, i.recent_rates
FROM fire f
JOIN items ON items.id = f.item_id
JOIN item i ON i.id = f.item_id
JOIN policy_version v ON v.id = f.version_id
WHERE f.state = 'planned' AND f.due_at <= :now
ORDER BY f.item_id, f.due_at, f.schedule_no
FOR UPDATE OF f
