-- The CHECK on slot_scope refuses the whole tick if the arithmetic was wrong.
WITH needs AS MATERIALIZED (
    SELECT * FROM unnest(CAST(:jobs AS text[]), CAST(:scopes AS text[]), CAST(:keys AS text[]), CAST(:numbers AS integer[]))
        AS n (job_id, scope, key, number)
), held AS (
    INSERT INTO slot_hold (job_id, scope, key, epoch, n)
    SELECT n.job_id, n.scope, n.key, j.epoch, n.number FROM needs n JOIN job j ON j.id = n.job_id
    RETURNING scope, key, n
), sums AS (
    SELECT scope, key, sum(n) AS taken FROM held GROUP BY scope, key
)
UPDATE slot_scope s
SET in_use = s.in_use + sums.taken
FROM sums
WHERE s.scope = sums.scope AND s.key = sums.key
