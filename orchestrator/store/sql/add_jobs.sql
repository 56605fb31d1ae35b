-- A job takes place where its machine and its item are at the time it is made; one that collects has neither.
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS n (
        id text, kind text, trigger text, rank integer, item_id text, machine_id text, vault_id text, point_id text,
        type text, due_at timestamptz, waiting_since timestamptz, latest_start timestamptz, start_by timestamptz,
        finish_by timestamptz, estimate real, mib_per_second integer, max_attempts integer, longest_pause integer,
        policy_version text, requested_by text, retry_of text, target text, paths jsonb, conflict text, full_check boolean,
        hurried boolean, options jsonb)
), made AS (
    INSERT INTO job (id, kind, state, trigger, rank, aged_rank, ages_at, item_id, machine_id, vault_id, point_id,
        requested_type, type, created_at, due_at, latest_start, start_by, finish_by, estimate, mib_per_second, max_attempts,
        longest_pause, wait_reason, policy_version, requested_by, retry_of, target, paths, conflict, full_check,
        hurried, options, tenant, location, hypervisor)
    SELECT n.id, n.kind, CASE WHEN n.due_at IS NULL THEN 'available' ELSE 'scheduled' END, n.trigger, n.rank, n.rank,
        CASE WHEN n.rank > :first THEN coalesce(n.waiting_since, clock_timestamp()) + make_interval(secs => :seconds) END,
        n.item_id, n.machine_id, n.vault_id, n.point_id, n.type, n.type, coalesce(n.waiting_since, clock_timestamp()),
        coalesce(n.due_at, clock_timestamp()), coalesce(n.latest_start, clock_timestamp()), n.start_by, n.finish_by,
        n.estimate, n.mib_per_second, n.max_attempts, n.longest_pause,
        CASE WHEN n.due_at IS NULL THEN 'admission' ELSE 'not_due' END, n.policy_version, n.requested_by, n.retry_of,
        n.target, n.paths, n.conflict, n.full_check, n.hurried, n.options, coalesce(m.tenant, :nobody), coalesce(m.location, ''),
        coalesce(i.hypervisor, '')
    FROM given n
    LEFT JOIN machine m ON m.id = n.machine_id
    LEFT JOIN item i ON i.id = n.item_id
    RETURNING id
)
INSERT INTO unit (job_id, no) SELECT id, 0 FROM made
