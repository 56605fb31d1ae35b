-- The beginning of the queue, in order.
SELECT id, epoch, item_id, kind, machine_id, vault_id, tenant, location, hypervisor, aged_rank, latest_start, estimate, mib_per_second
FROM job
WHERE state = 'available' AND admitted_at IS NULL
ORDER BY aged_rank, latest_start, id
LIMIT :limit
