-- First lock, then look: the planner may be writing fires of these items just now.
SELECT id FROM item
WHERE (id = :item_id OR policy = :policy) AND removed_at IS NULL
ORDER BY id
FOR UPDATE
