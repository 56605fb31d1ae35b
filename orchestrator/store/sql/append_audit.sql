INSERT INTO audit (seq, at, actor, action, target, detail, previous, hash)
VALUES (:seq, :at, :actor, :action, :target, CAST(:detail AS jsonb), :previous, :hash)
