-- Jobs that had leave to seal and ended without a point, and nobody has looked for it since; by the id of the point.
SELECT j.machine_id AS machine, j.item_id AS item, j.point_id AS point
FROM job j
WHERE j.vault_id = :vault_id AND j.kind = 'backup' AND j.committing_at IS NOT NULL
  AND j.state IN ('cancelled', 'discarded', 'expired') AND j.point_id > :after
  AND NOT EXISTS (SELECT 1 FROM settled_point s WHERE s.point_id = j.point_id)
ORDER BY j.point_id
LIMIT :limit
