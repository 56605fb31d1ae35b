-- Living items that have no sealed point, or whose last backup that ended failed; what a person cancelled says nothing. Each
-- look at an item's points and jobs is a walk along an index from its newest one.
SELECT i.id, i.name, i.workload, p.sealed_at, b.id AS job_id, b.state AS job_state, b.finished_at, b.error_code, b.error_message
FROM item i
LEFT JOIN LATERAL (
    SELECT r.sealed_at FROM recovery_point r
    WHERE r.item_id = i.id AND r.state = 'sealed' ORDER BY r.cataloged_at DESC, r.id DESC LIMIT 1
) p ON true
LEFT JOIN LATERAL (
    SELECT j.id, j.state, j.finished_at, j.error_code, j.error_message FROM job j
    WHERE j.item_id = i.id AND j.kind = 'backup' AND j.state IN ('completed', 'discarded', 'expired')
    ORDER BY j.id DESC LIMIT 1
) b ON true
WHERE i.removed_at IS NULL AND i.name > :after AND (p.sealed_at IS NULL OR b.state <> 'completed')
ORDER BY i.name
LIMIT :limit
