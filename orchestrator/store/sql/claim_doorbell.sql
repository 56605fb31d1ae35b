-- The doorbell's unit, if it is still the admitted, unclaimed one. A second ring finds another epoch and takes nothing.
-- Waits for a lock: skipping would answer a good doorbell with nothing.
SELECT j.id, j.epoch
FROM job j
WHERE j.id = :job_id AND j.epoch = :epoch AND j.state = 'available' AND j.admitted_at IS NOT NULL
  AND EXISTS (SELECT 1 FROM unit u WHERE u.job_id = j.id AND u.no = :unit)
FOR UPDATE OF j
