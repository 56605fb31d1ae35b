-- Audit lines that were told and are not in the chain yet. Telling waits for nobody; one sealer after the other moves them.
CREATE TABLE audit_unsealed (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail jsonb NOT NULL
);
CREATE TRIGGER never_changed BEFORE UPDATE ON audit_unsealed FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON audit_unsealed FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();

-- Slots that ended attempts gave back and admission has not counted yet: until it does, they count as in use.
CREATE TABLE slot_return (
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    n integer NOT NULL CHECK (n > 0)
);
