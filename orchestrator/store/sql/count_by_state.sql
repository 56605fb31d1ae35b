-- Those that have not ended are few; those that have are counted from where the tally ends.
SELECT state, count(*) AS jobs FROM job
WHERE state IN ('scheduled', 'available', 'running', 'committing', 'retryable')
GROUP BY state
UNION ALL
SELECT t.state, t.n + (SELECT count(*) FROM job j WHERE j.state = t.state AND j.finished_at > t.until)
FROM job_tally t
