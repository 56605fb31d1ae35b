UPDATE leader
SET expires_at = clock_timestamp() + make_interval(secs => :ttl)
WHERE name = 'tower' AND holder = :holder AND term = :term AND expires_at > clock_timestamp()
