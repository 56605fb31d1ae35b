SELECT s.scope, s.key, s.capacity, s.in_use, s.floor, s.paused
FROM slot_scope s
JOIN (SELECT DISTINCT scope, key FROM unnest(CAST(:scopes AS text[]), CAST(:keys AS text[])) AS n (scope, key)) n
  ON n.scope = s.scope AND n.key = s.key
