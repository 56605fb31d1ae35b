-- Waits for another transaction that is taking the same key. A key that has outlived its days is taken over.
INSERT INTO idempotency_key AS k (key, request_hash, job_id)
VALUES (:key, :request_hash, :job_id)
ON CONFLICT (key) DO UPDATE
SET request_hash = CASE WHEN k.created_at < clock_timestamp() - interval '7 days' THEN excluded.request_hash ELSE k.request_hash END,
    job_id = CASE WHEN k.created_at < clock_timestamp() - interval '7 days' THEN excluded.job_id ELSE k.job_id END,
    created_at = CASE WHEN k.created_at < clock_timestamp() - interval '7 days' THEN clock_timestamp() ELSE k.created_at END
RETURNING request_hash, job_id
