-- An hour is longer than any transaction lives: nothing that ended before it is still to be committed.
UPDATE job_tally t
SET n = t.n + c.n, until = c.until
FROM (
    SELECT s.state, h.until, (
        SELECT count(*) FROM job j WHERE j.state = s.state AND j.finished_at > s.until AND j.finished_at <= h.until) AS n
    FROM job_tally s
    CROSS JOIN (SELECT clock_timestamp() - interval '1 hour' AS until) h
) c
WHERE t.state = c.state
