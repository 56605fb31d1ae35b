-- Rows in other hands are skipped: their reason is about to change anyway.
WITH busy_item AS MATERIALIZED (
    SELECT o.item_id AS id FROM job o
    WHERE o.kind = 'backup' AND (o.state IN ('running', 'committing') OR (o.state = 'available' AND o.admitted_at IS NOT NULL))
), reasons AS MATERIALIZED (
    SELECT j.id, CASE
        WHEN j.state = 'scheduled' THEN 'not_due'
        WHEN j.state = 'retryable' THEN CASE
            WHEN j.due_at <= clock_timestamp() AND j.error_code = ANY (CAST(:tripped AS text[])) THEN 'breaker'
            ELSE 'backoff' END
        WHEN j.admitted_at IS NOT NULL THEN 'worker'
        WHEN g.paused OR m.paused OR v.paused OR k.paused OR t.paused OR l.paused OR h.paused OR b.paused
            OR (s.held AND i.paused_at IS NOT NULL) THEN 'paused'
        WHEN s.held AND i.policy = ANY (CAST(:dark AS text[])) THEN 'blackout'
        WHEN s.held AND i.policy = ANY (CAST(:shut AS text[])) THEN 'window'
        WHEN j.kind = 'backup' AND j.item_id IN (SELECT id FROM busy_item) THEN 'dependency'
        WHEN g.in_use >= g.capacity - s.kept * g.floor THEN 'slot:global'
        WHEN k.in_use >= k.capacity - s.kept * k.floor THEN 'slot:class'
        WHEN t.in_use >= t.capacity - s.kept * t.floor THEN 'slot:tenant'
        WHEN l.in_use >= l.capacity - s.kept * l.floor THEN 'slot:location'
        WHEN h.in_use >= h.capacity - s.kept * h.floor THEN 'slot:hypervisor'
        WHEN m.in_use >= m.capacity - s.kept * m.floor THEN 'slot:machine'
        WHEN v.in_use >= v.capacity - s.kept * v.floor THEN 'slot:vault'
        WHEN b.in_use + least(j.mib_per_second, greatest(b.capacity, 1)) > b.capacity - s.kept * b.floor THEN 'slot:bandwidth'
        ELSE 'admission'
    END AS reason
    FROM job j
    JOIN slot_scope g ON g.scope = 'global' AND g.key = ''
    LEFT JOIN slot_scope m ON m.scope = 'machine' AND m.key = j.machine_id
    JOIN slot_scope v ON v.scope = 'vault' AND v.key = j.vault_id
    LEFT JOIN slot_scope k ON k.scope = 'class' AND k.key = j.kind
    LEFT JOIN slot_scope t ON t.scope = 'tenant' AND t.key = j.tenant AND j.kind <> 'collect'
    LEFT JOIN slot_scope l ON l.scope = 'location' AND l.key = j.location
    LEFT JOIN slot_scope h ON h.scope = 'hypervisor' AND h.key = j.hypervisor
    LEFT JOIN slot_scope b ON b.scope = 'bandwidth' AND b.key = j.location
    LEFT JOIN item i ON i.id = j.item_id
    CROSS JOIN LATERAL (
        SELECT j.trigger = 'schedule' AND j.cancel_requested_at IS NULL AS held,
               CASE WHEN j.kind = 'restore' THEN 0 ELSE 1 END AS kept
    ) s
    WHERE j.state IN ('scheduled', 'available', 'retryable')
), changed AS MATERIALIZED (
    SELECT j.id, reasons.reason
    FROM job j
    JOIN reasons ON reasons.id = j.id
    WHERE j.wait_reason IS DISTINCT FROM reasons.reason AND j.state IN ('scheduled', 'available', 'retryable')
    FOR UPDATE OF j SKIP LOCKED
)
UPDATE job SET wait_reason = changed.reason FROM changed WHERE job.id = changed.id
