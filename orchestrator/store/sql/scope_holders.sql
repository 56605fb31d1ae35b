-- Who holds slots of these scopes, how many, and when they should be given back.
SELECT h.scope, h.key, h.n, greatest(j.attempt_started_at, j.admitted_at) + make_interval(secs => j.estimate) AS ends_at
FROM slot_hold h
JOIN job j ON j.id = h.job_id
JOIN unnest(CAST(:scopes AS text[]), CAST(:keys AS text[])) AS n (scope, key) ON n.scope = h.scope AND n.key = h.key
