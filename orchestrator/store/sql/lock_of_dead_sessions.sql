SELECT j.id
FROM unit u
JOIN job j ON j.id = u.job_id AND u.no = 0
WHERE u.claim_id IS NOT NULL AND u.worker = :worker AND u.session <> :session AND j.state IN ('running', 'committing')
ORDER BY j.id
FOR UPDATE OF j, u
