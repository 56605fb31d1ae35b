-- Jobs that had leave to seal and ended without a point, by the id of the point: of which nothing is decided yet, and those
-- given up whose name is not fenced yet.
SELECT j.machine_id AS machine, j.item_id AS item, j.point_id AS point, s.point_id IS NOT NULL AS fence
FROM job j
LEFT JOIN settled_point s ON s.point_id = j.point_id
WHERE j.vault_id = :vault_id AND j.kind = 'backup' AND j.committing_at IS NOT NULL
  AND j.state IN ('cancelled', 'discarded', 'expired') AND j.point_id > :after
  AND (s.point_id IS NULL OR (s.verdict = 'given-up' AND s.fenced_at IS NULL))
ORDER BY j.point_id
LIMIT :limit
