-- Vaults in which there is something to do, that nobody collects, and that have rested: after a collection that came to its
-- end a day, after another one an hour.
SELECT v.id
FROM vault v
JOIN vault_generation g ON g.vault_id = v.id
LEFT JOIN LATERAL (
    SELECT j.state, j.created_at, j.finished_at FROM job j
    WHERE j.vault_id = v.id AND j.kind = 'collect' ORDER BY j.id DESC LIMIT 1
) c ON true
WHERE (c.state IS NULL
    OR (c.state = 'completed' AND c.finished_at < clock_timestamp() - make_interval(secs => :rest))
    OR (c.state IN ('cancelled', 'discarded', 'expired') AND c.finished_at < clock_timestamp() - make_interval(secs => :rest_after_failure)))
  AND ((g.condemned_packs > 0
        AND EXISTS (SELECT 1 FROM condemned_pack p WHERE p.vault_id = v.id AND p.deleted_at IS NULL))
    OR EXISTS (SELECT 1 FROM recovery_point r WHERE r.vault_id = v.id AND r.state = 'expiring')
    OR EXISTS (SELECT 1 FROM job f WHERE f.vault_id = v.id AND f.failed_at > coalesce(c.created_at, '-infinity'))
    OR EXISTS (SELECT 1 FROM job f WHERE f.vault_id = v.id AND f.kind = 'backup' AND f.state = 'cancelled'
               AND f.started_at IS NOT NULL AND f.finished_at > coalesce(c.created_at, '-infinity')))
ORDER BY v.id
LIMIT :limit
