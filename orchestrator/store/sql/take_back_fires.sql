-- Planning goes on from before the first fire taken back: one whose nominal time has passed while its jitter has not is planned anew.
WITH gone AS (
    DELETE FROM fire
    WHERE state = 'planned' AND due_at > clock_timestamp()
      AND item_id IN (SELECT id FROM item WHERE (id = :item_id OR policy = :policy) AND removed_at IS NULL)
    RETURNING item_id, instant
), firsts AS (
    SELECT item_id, min(instant) AS instant FROM gone GROUP BY item_id
)
UPDATE item
SET planned_through = least(item.planned_through, coalesce(firsts.instant - interval '1 second', clock_timestamp()), clock_timestamp())
FROM item i
LEFT JOIN firsts ON firsts.item_id = i.id
WHERE item.id = i.id AND (i.id = :item_id OR i.policy = :policy) AND i.removed_at IS NULL
