-- One job for one worker: the doorbell's, if it is still the admitted, unclaimed one (a second ring finds another epoch and
-- takes nothing), or with no doorbell a restore or whatever was admitted longest ago. A doorbell waits for a lock: skipping
-- would answer a good one with nothing. The worker's row is shared until the commit, so that no newer session takes the name
-- meanwhile. Rows are found by subqueries, not by joins: a plan made while the tables were small would scan them for ever.
-- A backup registers: its unit keeps the generation of its vault, under a lock that waits for a condemnation and makes the next
-- one wait, and that is taken after the job's. A job that once had leave to seal keeps its first generation: whoever got that
-- leave may still be sealing.
-- One row comes back in any case: whether the session is known, and with a job's columns if one was taken.
WITH me AS MATERIALIZED (
    SELECT name FROM worker WHERE name = :worker AND session = :session FOR SHARE
), next AS MATERIALIZED (
    SELECT j.id, j.epoch, j.kind, j.vault_id
    FROM job j
    WHERE CAST(:job_id AS text) IS NULL AND EXISTS (SELECT 1 FROM me) AND j.state = 'available' AND j.admitted_at IS NOT NULL
    ORDER BY j.kind <> 'restore', j.admitted_at, j.id
    LIMIT 1
    FOR UPDATE OF j SKIP LOCKED
), rung AS MATERIALIZED (
    SELECT j.id, j.epoch, j.kind, j.vault_id
    FROM job j
    WHERE j.id = CAST(:job_id AS text) AND j.epoch = CAST(:epoch AS bigint) AND EXISTS (SELECT 1 FROM me)
      AND j.state = 'available' AND j.admitted_at IS NOT NULL
    FOR UPDATE OF j
), meant AS MATERIALIZED (
    SELECT id, epoch, kind, vault_id FROM next
    UNION ALL
    SELECT id, epoch, kind, vault_id FROM rung
), current AS MATERIALIZED (
    SELECT g.generation, g.condemned_packs > 0 AS condemned
    FROM vault_generation g
    WHERE g.vault_id = (SELECT vault_id FROM meant WHERE kind = 'backup')
    FOR SHARE OF g
), taken AS (
    UPDATE job j
    SET state = 'running', epoch = j.epoch + 1, attempt = j.attempt + 1, wait_reason = NULL,
        started_at = coalesce(j.started_at, clock_timestamp()), attempt_started_at = clock_timestamp()
    WHERE j.id = (SELECT id FROM meant) AND j.epoch = (SELECT epoch FROM meant)
      AND j.state = 'available' AND j.admitted_at IS NOT NULL
    RETURNING j.*
), leased AS (
    UPDATE unit u
    SET claim_id = :claim_id, worker = :worker, session = :session, progress = NULL,
        lease_expires_at = clock_timestamp() + make_interval(secs => :lease),
        generation = CASE
            WHEN (SELECT committing_at FROM taken) IS NULL THEN (SELECT generation FROM current) ELSE u.generation
        END
    WHERE u.job_id = (SELECT id FROM taken) AND u.no = 0
), told AS (
    INSERT INTO audit_unsealed (actor, action, target, detail)
    SELECT 'worker:' || :worker, 'job.claim', id, jsonb_build_object('attempt', attempt, 'epoch', epoch) FROM taken
)
SELECT taken.*, coalesce(i.name, '') AS item, v.name AS vault, coalesce(current.condemned, false) AS condemned,
       CAST(:worker AS text) AS worker, NULL AS progress, me.name IS NOT NULL AS known,
       (SELECT count(*) FROM worker w
        WHERE w.name <> :worker AND w.last_seen_at > clock_timestamp() - make_interval(secs => :lease)) AS helpers
FROM (SELECT 1) one
LEFT JOIN me ON true
LEFT JOIN taken ON true
LEFT JOIN current ON true
LEFT JOIN item i ON i.id = taken.item_id
LEFT JOIN vault v ON v.id = taken.vault_id
