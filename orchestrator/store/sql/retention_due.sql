-- Items whose time to be looked at has come, the longest waiting first, with the rule that holds for each.
SELECT i.id, i.retention AS own, v.spec, i.held_back, CAST(NULL AS timestamptz) AS removed_at
FROM (
    SELECT id, policy, retention, held_back, retention_due_at
    FROM item
    WHERE removed_at IS NULL AND retention_due_at <= clock_timestamp()
    ORDER BY retention_due_at
    LIMIT :limit
) i
LEFT JOIN policy p ON p.name = i.policy
LEFT JOIN policy_version v ON v.policy = p.name AND v.n = p.newest
ORDER BY i.retention_due_at
