-- Capacity follows in_use down to what the operator wants.
WITH gone AS (
    DELETE FROM slot_hold WHERE job_id = :job_id RETURNING scope, key, n
)
UPDATE slot_scope s
SET in_use = s.in_use - gone.n, capacity = greatest(s.wanted, s.in_use - gone.n)
FROM gone
WHERE s.scope = gone.scope AND s.key = gone.key
