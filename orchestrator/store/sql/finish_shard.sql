UPDATE unit u
SET result = :result, claim_id = NULL, session = NULL, lease_expires_at = NULL, error_code = NULL, error_message = NULL
FROM job j
WHERE j.id = u.job_id AND j.epoch = u.epoch AND j.state IN ('running', 'committing')
  AND u.job_id = :job_id AND u.no = :unit AND u.epoch = :epoch AND u.claim_id = :claim_id
RETURNING u.worker
