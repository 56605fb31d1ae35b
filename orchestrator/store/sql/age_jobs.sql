-- Every two hours a waiting job moves up a class, as far as the ranks that ageing may reach.
WITH aged AS MATERIALIZED (
    SELECT id FROM job
    WHERE state = 'available' AND admitted_at IS NULL AND ages_at <= clock_timestamp()
    ORDER BY ages_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
UPDATE job j
SET aged_rank = greatest(least(:first, j.rank), j.rank - :step * CAST(floor(
        extract(epoch FROM clock_timestamp() - j.created_at) / :seconds) AS integer)),
    ages_at = CASE WHEN j.aged_rank > :first THEN
        j.created_at + make_interval(secs => :seconds * (1 + floor(
            extract(epoch FROM clock_timestamp() - j.created_at) / :seconds))) END
FROM aged
WHERE j.id = aged.id
