-- A restore, or whatever was admitted longest ago, that nobody has claimed.
SELECT j.id, j.epoch
FROM job j
WHERE j.state = 'available' AND j.admitted_at IS NOT NULL
ORDER BY j.kind <> 'restore', j.admitted_at, j.id
LIMIT 1
FOR UPDATE OF j SKIP LOCKED
