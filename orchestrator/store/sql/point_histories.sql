-- The last points, newest first, of items that have a new one or whose newest one was strange.
WITH looked_at AS MATERIALIZED (
    SELECT r.item_id AS id FROM recovery_point r WHERE r.cataloged_at >= :since
    UNION
    SELECT a.target FROM alarm a WHERE a.kind = :kind AND a.closed_at IS NULL
)
SELECT i.id, i.name, p.types, p.files, p.sizes, p.transferred
FROM looked_at l
JOIN item i ON i.id = l.id AND i.removed_at IS NULL
CROSS JOIN LATERAL (
    SELECT array_agg(q.type ORDER BY q.cataloged_at DESC, q.id DESC) AS types,
           array_agg(q.files ORDER BY q.cataloged_at DESC, q.id DESC) AS files,
           array_agg(q.bytes ORDER BY q.cataloged_at DESC, q.id DESC) AS sizes,
           array_agg(q.bytes_transferred ORDER BY q.cataloged_at DESC, q.id DESC) AS transferred
    FROM (
        SELECT r.id, r.type, r.files, r.bytes, r.bytes_transferred, r.cataloged_at
        FROM recovery_point r
        WHERE r.item_id = i.id AND r.state <> 'damaged'
        ORDER BY r.cataloged_at DESC, r.id DESC
        LIMIT :limit
    ) q
) p
WHERE p.types IS NOT NULL
ORDER BY i.name
