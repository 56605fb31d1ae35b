-- The one way an attempt, or a wait, ends. No row: somebody was faster. Units are locked in the order of everybody who locks
-- several of a job. Shards are parts of this attempt alone: whoever flies one finds it gone, and stops. The slots are given
-- back, and whoever admits next counts them: nobody waits here for the lock of a scope. Rows are found by subqueries, not by
-- joins: a plan made while the tables were small would scan them for ever.
WITH ended AS (
    UPDATE job
    SET state = :state,
        epoch = epoch + 1,
        attempt = :attempt,
        losses = :losses,
        admitted_at = CASE WHEN :terminal THEN admitted_at END,
        rung_at = NULL,
        due_at = clock_timestamp() + make_interval(secs => :due_in),
        backoff_seconds = :backoff_seconds,
        finished_at = CASE WHEN :terminal THEN clock_timestamp() END,
        cancel_requested_at = CASE
            WHEN :state = 'cancelled' THEN coalesce(cancel_requested_at, clock_timestamp())
            ELSE cancel_requested_at
        END,
        wait_reason = :wait_reason,
        failed_at = CASE WHEN :failed THEN clock_timestamp() ELSE failed_at END,
        error_code = :error_code,
        error_message = :error_message,
        error_hint = :error_hint,
        stats = coalesce(CAST(:stats AS jsonb), stats),
        warnings = coalesce(CAST(:warnings AS jsonb), warnings),
        type = coalesce(:type, type)
    WHERE id = :job_id AND state = :before AND epoch = :epoch
    RETURNING id
), units AS MATERIALIZED (
    SELECT u.no FROM unit u WHERE u.job_id = (SELECT id FROM ended) ORDER BY u.no FOR UPDATE OF u
), freed AS (
    UPDATE unit u
    SET claim_id = NULL, session = NULL, lease_expires_at = NULL, progress = NULL,
        completed_epoch = coalesce(CAST(:completed_epoch AS bigint), u.completed_epoch),
        completed_claim_id = coalesce(CAST(:completed_claim_id AS text), u.completed_claim_id)
    WHERE u.job_id = (SELECT id FROM ended) AND u.no = 0 AND (SELECT count(*) FROM units) > 0
), gone AS (
    DELETE FROM unit u WHERE u.job_id = (SELECT id FROM ended) AND u.no > 0 AND (SELECT count(*) FROM units) > 1
), given_back AS (
    DELETE FROM slot_hold h WHERE h.job_id = (SELECT id FROM ended) RETURNING h.scope, h.key, h.n
), returned AS (
    INSERT INTO slot_return (scope, key, n) SELECT scope, key, n FROM given_back
), told AS (
    INSERT INTO audit_unsealed (actor, action, target, detail)
    SELECT CAST(:actor AS text), CAST(:action AS text), id, CAST(:detail AS jsonb) FROM ended WHERE CAST(:actor AS text) IS NOT NULL
)
SELECT id FROM ended
