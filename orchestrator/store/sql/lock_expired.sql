-- Whoever is just renewing or completing holds the row: skipped, and looked at again in two seconds.
SELECT j.id
FROM unit u
JOIN job j ON j.id = u.job_id AND u.no = 0
WHERE u.claim_id IS NOT NULL AND u.lease_expires_at < clock_timestamp() - make_interval(secs => :margin)
  AND j.state IN ('running', 'committing')
ORDER BY u.lease_expires_at, u.job_id
LIMIT :limit
FOR UPDATE OF j, u SKIP LOCKED
