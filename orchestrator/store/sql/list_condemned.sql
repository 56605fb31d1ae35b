SELECT c.name, c.size, c.doomed_at IS NOT NULL AS doomed,
       c.doomed_at IS NULL AND c.generation <= :through
           AND c.condemned_at <= clock_timestamp() - make_interval(secs => :grace) AS ripe
FROM condemned_pack c
WHERE c.vault_id = :vault_id AND c.name > :after
ORDER BY c.name
LIMIT :limit
