INSERT INTO leader AS l (name, holder, term, expires_at)
VALUES ('tower', :holder, 1, clock_timestamp() + make_interval(secs => :ttl))
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, term = l.term + 1, expires_at = excluded.expires_at
WHERE l.expires_at < clock_timestamp()
RETURNING term
