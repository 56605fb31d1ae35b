-- Names that are not dead: neither given up nor those of points that are doomed or expired.
SELECT n.id
FROM unnest(CAST(:points AS text[])) AS n (id)
WHERE NOT EXISTS (
        SELECT 1 FROM settled_point s WHERE s.point_id = n.id AND s.vault_id = :vault_id AND s.verdict = 'given-up')
  AND NOT EXISTS (
        SELECT 1 FROM recovery_point r WHERE r.id = n.id AND r.vault_id = :vault_id AND r.doomed_at IS NOT NULL)
ORDER BY n.id
