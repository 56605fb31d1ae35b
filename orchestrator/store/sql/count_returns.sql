-- Capacity follows in_use down to what the operator wants. 'global' first, then the others by name, as everybody does.
WITH back AS (
    DELETE FROM slot_return RETURNING scope, key, n
), sums AS MATERIALIZED (
    SELECT scope, key, sum(n) AS n FROM back GROUP BY scope, key
), locked AS MATERIALIZED (
    SELECT s.scope, s.key, sums.n
    FROM slot_scope s
    JOIN sums ON sums.scope = s.scope AND sums.key = s.key
    ORDER BY s.scope <> 'global', s.scope, s.key
    FOR UPDATE OF s
)
UPDATE slot_scope s
SET in_use = s.in_use - locked.n, capacity = greatest(s.wanted, s.in_use - locked.n)
FROM locked
WHERE s.scope = locked.scope AND s.key = locked.key
