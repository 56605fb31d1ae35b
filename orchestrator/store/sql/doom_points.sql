-- These rows are locked, so that no hold and no restore is half done; looked at anew, only what no open job works on goes.
UPDATE recovery_point r
SET doomed_at = clock_timestamp()
WHERE r.id = ANY (CAST(:points AS text[])) AND r.state = 'expiring' AND r.doomed_at IS NULL
  AND NOT EXISTS (
      SELECT 1 FROM job j WHERE j.point_id = r.id AND j.kind <> 'collect'
        AND j.state NOT IN ('cancelled', 'completed', 'discarded', 'expired'))
RETURNING r.id
