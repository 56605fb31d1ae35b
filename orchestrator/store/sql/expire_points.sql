UPDATE recovery_point r
SET state = 'expiring', expiring_at = clock_timestamp(), expiring_generation = :generation, expiry_reason = n.reason
FROM unnest(CAST(:points AS text[]), CAST(:reasons AS text[])) AS n (id, reason)
WHERE r.id = n.id AND r.item_id = :item_id AND r.state IN ('sealed', 'damaged')
RETURNING r.id
