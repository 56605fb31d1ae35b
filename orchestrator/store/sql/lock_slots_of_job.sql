SELECT s.scope, s.key
FROM slot_scope s
JOIN slot_hold h ON h.scope = s.scope AND h.key = s.key
WHERE h.job_id = :job_id
ORDER BY s.scope <> 'global', s.scope, s.key
FOR UPDATE OF s
