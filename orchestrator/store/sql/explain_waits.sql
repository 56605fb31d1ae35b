-- Rows in other hands are skipped: their reason is about to change anyway.
WITH reasons AS MATERIALIZED (
    SELECT j.id, CASE
        WHEN j.state = 'scheduled' THEN 'not_due'
        WHEN j.state = 'retryable' THEN 'backoff'
        WHEN j.admitted_at IS NOT NULL THEN 'worker'
        WHEN g.paused OR m.paused OR v.paused OR (s.held AND i.paused_at IS NOT NULL) THEN 'paused'
        WHEN s.held AND i.policy = ANY (CAST(:closed AS text[])) THEN 'window'
        WHEN j.kind = 'backup' AND EXISTS (
            SELECT 1 FROM job o
            WHERE o.item_id = j.item_id AND o.kind = 'backup'
              AND (o.state IN ('running', 'committing') OR (o.state = 'available' AND o.admitted_at IS NOT NULL))
        ) THEN 'dependency'
        WHEN g.in_use >= g.capacity - CASE WHEN j.kind = 'restore' THEN 0 ELSE g.floor END THEN 'slot:global'
        WHEN m.in_use >= m.capacity - CASE WHEN j.kind = 'restore' THEN 0 ELSE m.floor END THEN 'slot:machine'
        WHEN v.in_use >= v.capacity - CASE WHEN j.kind = 'restore' THEN 0 ELSE v.floor END THEN 'slot:vault'
        ELSE 'admission'
    END AS reason
    FROM job j
    JOIN slot_scope g ON g.scope = 'global' AND g.key = ''
    JOIN slot_scope m ON m.scope = 'machine' AND m.key = j.machine_id
    JOIN slot_scope v ON v.scope = 'vault' AND v.key = j.vault_id
    JOIN item i ON i.id = j.item_id
    CROSS JOIN LATERAL (SELECT j.trigger = 'schedule' AND j.cancel_requested_at IS NULL AS held) s
    WHERE j.state IN ('scheduled', 'available', 'retryable')
), changed AS MATERIALIZED (
    SELECT j.id, reasons.reason
    FROM job j
    JOIN reasons ON reasons.id = j.id
    WHERE j.wait_reason IS DISTINCT FROM reasons.reason AND j.state IN ('scheduled', 'available', 'retryable')
    FOR UPDATE OF j SKIP LOCKED
)
UPDATE job SET wait_reason = changed.reason FROM changed WHERE job.id = changed.id
