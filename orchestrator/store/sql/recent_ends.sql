-- How attempts have ended lately: by error code, and the good ones under an empty code.
SELECT coalesce(error_code, '') AS code, count(*) AS ends
FROM job
WHERE failed_at > clock_timestamp() - make_interval(secs => :seconds)
GROUP BY 1
UNION ALL
SELECT '', count(*) FROM job WHERE state = 'completed' AND finished_at > clock_timestamp() - make_interval(secs => :seconds)
