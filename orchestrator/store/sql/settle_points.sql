-- The first decision about a point is the last one; what needs none is passed over.
INSERT INTO settled_point (point_id, vault_id, job_id, verdict)
SELECT j.point_id, j.vault_id, j.id, :verdict
FROM job j
WHERE j.vault_id = :vault_id AND j.kind = 'backup' AND j.committing_at IS NOT NULL
  AND j.state IN ('cancelled', 'discarded', 'expired') AND j.point_id = ANY (CAST(:points AS text[]))
ON CONFLICT (point_id) DO NOTHING
RETURNING point_id
