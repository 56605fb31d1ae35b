SELECT i.id, i.planned_through, v.id AS version_id, v.spec
FROM item i
JOIN policy p ON p.name = i.policy
JOIN policy_version v ON v.policy = p.name AND v.n = p.newest
WHERE i.removed_at IS NULL AND i.paused_at IS NULL AND i.policy IS NOT NULL AND i.planned_through < :before
ORDER BY i.planned_through, i.id
LIMIT :limit
FOR UPDATE OF i SKIP LOCKED
