-- Of two lines of which one knew of the other, the later has the greater id, and whoever sees the later sees both.
DELETE FROM audit_unsealed
WHERE id IN (SELECT id FROM audit_unsealed ORDER BY id LIMIT :limit)
RETURNING id, at, actor, action, target, detail
