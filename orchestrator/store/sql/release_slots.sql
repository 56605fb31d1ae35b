WITH gone AS (
    DELETE FROM slot_hold WHERE job_id = :job_id RETURNING scope, key
)
UPDATE slot_scope s
SET in_use = in_use - 1
FROM gone
WHERE s.scope = gone.scope AND s.key = gone.key
