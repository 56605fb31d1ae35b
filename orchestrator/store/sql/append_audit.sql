INSERT INTO audit (seq, at, actor, action, target, detail, previous, hash)
SELECT n.seq, n.at, n.actor, n.action, n.target, n.detail, n.previous, n.hash
FROM jsonb_to_recordset(CAST(:lines AS jsonb)) AS n (
    seq bigint, at timestamptz, actor text, action text, target text, detail jsonb, previous text, hash text)
ORDER BY n.seq
