-- Lines of one moment, numbered in the order of the list: sealing follows the numbers.
INSERT INTO audit_unsealed (at, actor, action, target, detail)
SELECT now.at, n.line ->> 'actor', n.line ->> 'action', n.line ->> 'target', n.line -> 'detail'
FROM (SELECT clock_timestamp() AS at) now
CROSS JOIN jsonb_array_elements(CAST(:lines AS jsonb)) WITH ORDINALITY AS n (line, no)
ORDER BY n.no
