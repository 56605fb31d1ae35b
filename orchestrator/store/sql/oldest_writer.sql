-- The generation of the oldest writer of a vault; no row's value is older than 1, so 0 stands for one that never registered.
-- Writers are claimed units of backups; backups that had leave to seal, until they end, whoever has them; and those of them
-- that ended without a point until that is found or fenced. One statement: a writer is seen as one of them or has ended.
-- With it the present generation, as of the same moment: without any writer, what is older than that may go, and nothing
-- that is condemned or expires after this look.
SELECT min(coalesce(w.generation, 0)) AS generation,
       (SELECT g.generation FROM vault_generation g WHERE g.vault_id = :vault_id) AS newest
FROM (
    SELECT u.generation
    FROM unit u
    JOIN job j ON j.id = u.job_id AND j.kind = 'backup' AND j.vault_id = :vault_id
    WHERE u.claim_id IS NOT NULL
    UNION ALL
    SELECT u.generation
    FROM job j
    JOIN unit u ON u.job_id = j.id AND u.no = 0
    WHERE j.vault_id = :vault_id AND j.kind = 'backup' AND j.committing_at IS NOT NULL
      AND j.state NOT IN ('cancelled', 'completed', 'discarded', 'expired')
    UNION ALL
    SELECT u.generation
    FROM job j
    JOIN unit u ON u.job_id = j.id AND u.no = 0
    WHERE j.vault_id = :vault_id AND j.kind = 'backup' AND j.committing_at IS NOT NULL
      AND j.state IN ('cancelled', 'discarded', 'expired')
      AND NOT EXISTS (
          SELECT 1 FROM settled_point s
          WHERE s.point_id = j.point_id AND (s.verdict = 'found' OR s.fenced_at IS NOT NULL))
) w
