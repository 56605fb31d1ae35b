-- The one way an attempt, or a wait, ends. Zero rows: somebody was faster.
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
    stats = coalesce(CAST(:stats AS jsonb), stats),
    warnings = coalesce(CAST(:warnings AS jsonb), warnings),
    type = coalesce(:type, type)
WHERE id = :job_id AND state = :before AND epoch = :epoch
