-- How attempts have ended lately: by error code, and the good ones under an empty code. Those are many, and nobody asks
-- for them while none has failed.
SELECT coalesce(error_code, '') AS code, count(*) AS ends
FROM job
WHERE failed_at > clock_timestamp() - make_interval(secs => :seconds)
GROUP BY 1
UNION ALL
SELECT '', count(*) FROM job WHERE state = 'completed' AND finished_at > clock_timestamp() - make_interval(secs => :seconds)
  AND EXISTS (SELECT 1 FROM job WHERE failed_at > clock_timestamp() - make_interval(secs => :seconds))
