-- The generation's row is locked by lock_generation, so no claim is half done: who registers later is younger. What is
-- condemned already keeps its generation.
INSERT INTO condemned_pack (vault_id, name, size, generation)
SELECT :vault_id, p.name, p.size, :generation
FROM unnest(CAST(:names AS text[]), CAST(:sizes AS bigint[])) AS p (name, size)
ON CONFLICT (vault_id, name) DO NOTHING
RETURNING size
