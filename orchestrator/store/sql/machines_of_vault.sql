-- Machines that have, or had, items in the vault. Busy: a backup that has begun has not ended yet.
SELECT m.id, m.name, m.key_slots,
       EXISTS (
           SELECT 1 FROM job j JOIN item i ON i.id = j.item_id
           WHERE i.machine_id = m.id AND j.vault_id = :vault_id AND j.kind = 'backup' AND j.started_at IS NOT NULL
             AND j.state NOT IN ('cancelled', 'completed', 'discarded', 'expired')) AS busy
FROM machine m
WHERE EXISTS (SELECT 1 FROM item i WHERE i.machine_id = m.id AND i.vault_id = :vault_id)
ORDER BY m.id
