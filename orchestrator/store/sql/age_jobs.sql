-- Every two hours a waiting job moves up a class, as far as the ranks that ageing may reach.
WITH aged AS MATERIALIZED (
    SELECT id, rank, created_at, floor(extract(epoch FROM clock_timestamp() - created_at) / :seconds) AS classes
    FROM job
    WHERE state = 'available' AND admitted_at IS NULL AND ages_at <= clock_timestamp()
    ORDER BY ages_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
), moved AS (
    SELECT id, created_at + make_interval(secs => :seconds * (1 + classes)) AS next,
           greatest(least(:first, rank), rank - :step * CAST(classes AS integer)) AS aged_rank
    FROM aged
)
UPDATE job
SET aged_rank = moved.aged_rank, ages_at = CASE WHEN moved.aged_rank > :first THEN moved.next END
FROM moved
WHERE job.id = moved.id
