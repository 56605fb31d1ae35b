-- What retention looks at: the points of these items that have not expired, and whether a job works on one. The last sealed
-- one is the newest in the order of the catalog.
SELECT r.item_id, r.id, r.sealed_at, r.state = 'damaged' AS damaged, r.looked_at IS NOT NULL AS looked_at, r.held_at, r.held_until,
       r.state = 'sealed' AND NOT EXISTS (
           SELECT 1 FROM recovery_point n
           WHERE n.item_id = r.item_id AND n.state = 'sealed' AND (n.cataloged_at, n.id) > (r.cataloged_at, r.id)) AS last,
       EXISTS (
           SELECT 1 FROM job j WHERE j.point_id = r.id AND j.kind <> 'collect'
             AND j.state NOT IN ('cancelled', 'completed', 'discarded', 'expired')) AS in_use
FROM recovery_point r
WHERE r.item_id = ANY (CAST(:items AS text[])) AND r.state IN ('sealed', 'damaged')
ORDER BY r.item_id, r.sealed_at DESC, r.id DESC
