SELECT g.generation,
       g.condemned_packs - (
           SELECT count(*) FROM condemned_pack p
           WHERE p.vault_id = g.vault_id AND p.doomed_at IS NOT NULL AND p.deleted_at IS NOT NULL) AS condemned_packs,
       g.condemned_bytes, d.packs AS doomed_packs, d.bytes AS doomed_bytes,
       (SELECT count(*) FROM recovery_point r WHERE r.vault_id = g.vault_id AND r.state = 'expiring') AS expiring_points,
       (SELECT count(*) FROM job j WHERE j.vault_id = g.vault_id AND j.kind = 'backup' AND j.committing_at IS NOT NULL
          AND j.state IN ('cancelled', 'discarded', 'expired')
          AND NOT EXISTS (
          SELECT 1 FROM settled_point s
          WHERE s.point_id = j.point_id AND (s.verdict = 'found' OR s.fenced_at IS NOT NULL))) AS unsettled,
       c.id AS last_id, c.state AS last_state, c.created_at AS last_created_at, c.finished_at AS last_finished_at,
       c.stats AS last_stats
FROM vault_generation g
CROSS JOIN LATERAL (
    SELECT count(*) AS packs, coalesce(sum(p.size), 0) AS bytes FROM condemned_pack p
    WHERE p.vault_id = g.vault_id AND p.doomed_at IS NOT NULL AND p.deleted_at IS NULL
) d
LEFT JOIN LATERAL (
    SELECT * FROM job j WHERE j.vault_id = g.vault_id AND j.kind = 'collect' ORDER BY j.id DESC LIMIT 1
) c ON true
WHERE g.vault_id = :vault_id
