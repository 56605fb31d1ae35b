-- The fence, as in lock_owned; for questions that change nothing.
SELECT j.id
FROM job j
JOIN unit u ON u.job_id = j.id
WHERE j.id = :job_id AND u.no = :unit AND j.epoch = :epoch AND u.claim_id = :claim_id
  AND j.state IN ('running', 'committing')
