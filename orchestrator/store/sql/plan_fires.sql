-- A nominal time that is in the ledger already stays what it is.
INSERT INTO fire (item_id, schedule_no, nominal, zone, instant, due_at, version_id)
SELECT *
FROM unnest(
    CAST(:items AS text[]), CAST(:numbers AS integer[]), CAST(:nominals AS timestamp[]), CAST(:zones AS text[]),
    CAST(:instants AS timestamptz[]), CAST(:dues AS timestamptz[]), CAST(:versions AS text[]))
ON CONFLICT DO NOTHING
