-- Where these jobs are in the whole queue, counted from 1. Jobs that do not wait for their turn are missing.
WITH queue AS (
    SELECT id, row_number() OVER (ORDER BY aged_rank, latest_start, id) AS position
    FROM job
    WHERE state = 'available' AND admitted_at IS NULL
)
SELECT id, position FROM queue WHERE id = ANY (CAST(:ids AS text[]))
