-- A settled fire never changes: one that somebody else has settled is left as it is.
UPDATE fire f
SET state = n.state, reason = n.reason, job_id = n.job_id, settled_at = clock_timestamp()
FROM unnest(
    CAST(:items AS text[]), CAST(:numbers AS integer[]), CAST(:zones AS text[]), CAST(:nominals AS timestamp[]),
    CAST(:states AS text[]), CAST(:reasons AS text[]), CAST(:jobs AS text[])
) AS n (item_id, schedule_no, zone, nominal, state, reason, job_id)
WHERE f.item_id = n.item_id AND f.schedule_no = n.schedule_no AND f.zone = n.zone AND f.nominal = n.nominal
  AND f.state = 'planned'
