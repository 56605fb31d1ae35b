-- Ripe: no writer is older than the condemnation, and the grace has passed.
UPDATE condemned_pack
SET doomed_at = clock_timestamp(), doomed_claim = :claim_id
WHERE vault_id = :vault_id AND name = ANY (CAST(:names AS text[])) AND doomed_at IS NULL
  AND generation <= :through
  AND condemned_at <= clock_timestamp() - make_interval(secs => :grace)
RETURNING size
