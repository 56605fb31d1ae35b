-- Lines are numbered in the order of the list: whoever numbers them does so while it is read, and sealing follows the numbers.
INSERT INTO audit_unsealed (at, actor, action, target, detail)
SELECT now.at, n.line ->> 'actor', n.line ->> 'action', n.line ->> 'target', n.line -> 'detail'
FROM (SELECT clock_timestamp() AS at) now
CROSS JOIN jsonb_array_elements(CAST(:lines AS jsonb)) WITH ORDINALITY AS n (line, no)
ORDER BY n.no
