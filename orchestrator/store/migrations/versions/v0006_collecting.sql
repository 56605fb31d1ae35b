-- A vault's generation only grows. The row is its own: the vault's counters change all the time, and every claim of a
-- backup locks this one FOR SHARE. What is condemned is counted beside it, so that a claim learns both in one look.
CREATE TABLE vault_generation (
    vault_id text COLLATE "C" PRIMARY KEY REFERENCES vault,
    generation bigint NOT NULL DEFAULT 1 CHECK (generation > 0),
    condemned_packs bigint NOT NULL DEFAULT 0 CHECK (condemned_packs >= 0),
    condemned_bytes bigint NOT NULL DEFAULT 0 CHECK (condemned_bytes >= 0)
) WITH (fillfactor = 50);
INSERT INTO vault_generation (vault_id) SELECT id FROM vault;
CREATE FUNCTION guard_generation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.generation < OLD.generation THEN
        RAISE EXCEPTION 'vault %: the generation never goes back', OLD.vault_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_generation BEFORE UPDATE ON vault_generation FOR EACH ROW EXECUTE FUNCTION guard_generation();

-- The generation of its vault when a backup's unit was claimed; NULL is older than every other.
ALTER TABLE unit ADD COLUMN generation bigint;

-- A pack that no writer may rely on; doomed once its deletion has been allowed, to the collector with that claim first. When
-- that very one has deleted it, it is gone from here. When another one has, it stays, deleted_at and without a size, for the
-- first one may still be about to delete whatever has its name.
CREATE TABLE condemned_pack (
    vault_id text COLLATE "C" NOT NULL REFERENCES vault,
    name text COLLATE "C" NOT NULL,
    size bigint NOT NULL CHECK (size >= 0),
    generation bigint NOT NULL CHECK (generation > 0),
    condemned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    doomed_at timestamptz,
    doomed_claim text COLLATE "C",
    deleted_at timestamptz,
    CHECK ((doomed_at IS NULL) = (doomed_claim IS NULL)),
    CHECK (deleted_at IS NULL OR doomed_at IS NOT NULL),
    PRIMARY KEY (vault_id, name)
);
CREATE FUNCTION guard_doomed_pack() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.doomed_at IS NULL OR NEW.generation <> OLD.generation OR NEW.doomed_claim <> OLD.doomed_claim THEN
        RAISE EXCEPTION 'pack %: doomed for good', OLD.name USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_doomed_pack BEFORE UPDATE ON condemned_pack FOR EACH ROW
    WHEN (OLD.doomed_at IS NOT NULL) EXECUTE FUNCTION guard_doomed_pack();

-- looked_at: a person has looked at the damaged point, so that it may go. A hold without an end has no held_until.
ALTER TABLE recovery_point
    ADD COLUMN expiring_at timestamptz,
    ADD COLUMN expiring_generation bigint CHECK (expiring_generation > 0),
    ADD COLUMN expiry_reason text,
    ADD COLUMN doomed_at timestamptz,
    ADD COLUMN expired_at timestamptz,
    ADD COLUMN held_at timestamptz,
    ADD COLUMN looked_at timestamptz;
UPDATE recovery_point SET held_at = cataloged_at WHERE held_until IS NOT NULL;
UPDATE recovery_point SET expiring_at = cataloged_at, expiring_generation = 1, expiry_reason = '',
    doomed_at = CASE WHEN state = 'expired' THEN cataloged_at END, expired_at = CASE WHEN state = 'expired' THEN cataloged_at END
WHERE state IN ('expiring', 'expired');
ALTER TABLE recovery_point
    ADD CONSTRAINT expiring_or_expired CHECK ((state IN ('expiring', 'expired')) = (expiring_at IS NOT NULL)),
    ADD CONSTRAINT expiry_is_whole CHECK (
        (expiring_at IS NULL) = (expiring_generation IS NULL) AND (expiring_at IS NULL) = (expiry_reason IS NULL)),
    ADD CONSTRAINT expiring_then_doomed CHECK (doomed_at IS NULL OR expiring_at IS NOT NULL),
    ADD CONSTRAINT doomed_then_expired CHECK (
        (state = 'expired') = (expired_at IS NOT NULL) AND (expired_at IS NULL OR doomed_at IS NOT NULL)),
    ADD CONSTRAINT held_since CHECK (held_until IS NULL OR held_at IS NOT NULL);
CREATE INDEX point_expiring ON recovery_point (vault_id, id) WHERE state = 'expiring';
CREATE FUNCTION guard_doomed_point() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.doomed_at IS NULL OR OLD.state = 'expired' THEN
        RAISE EXCEPTION 'point %: doomed for good', OLD.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_doomed_point BEFORE UPDATE OR DELETE ON recovery_point FOR EACH ROW
    WHEN (OLD.doomed_at IS NOT NULL) EXECUTE FUNCTION guard_doomed_point();

-- What was decided, for good, of points whose jobs had leave to seal and ended without one: found whole, or given up. What
-- is given up is fenced once nobody can seal it any more; until then its job counts as a writer.
CREATE TABLE settled_point (
    point_id text COLLATE "C" PRIMARY KEY,
    vault_id text COLLATE "C" NOT NULL REFERENCES vault,
    job_id text COLLATE "C" NOT NULL REFERENCES job,
    verdict text NOT NULL CHECK (verdict IN ('found', 'given-up')),
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    fenced_at timestamptz,
    CHECK (fenced_at IS NULL OR verdict = 'given-up')
);
CREATE FUNCTION guard_settled_point() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.verdict <> OLD.verdict OR (OLD.fenced_at IS NOT NULL AND NEW.fenced_at IS NULL) THEN
        RAISE EXCEPTION 'point %: decided for good', OLD.point_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_settled_point BEFORE UPDATE OR DELETE ON settled_point FOR EACH ROW EXECUTE FUNCTION guard_settled_point();

-- A job that collects is of a whole vault. reference is what a backup was told to compare with.
ALTER TABLE job
    ALTER COLUMN item_id DROP NOT NULL,
    ALTER COLUMN machine_id DROP NOT NULL,
    ALTER COLUMN point_id DROP NOT NULL,
    DROP CONSTRAINT job_kind_check,
    ADD CONSTRAINT job_kind_check CHECK (kind IN ('backup', 'restore', 'verify', 'collect')),
    ADD CONSTRAINT of_an_item_or_a_vault CHECK (
        (kind = 'collect') = (item_id IS NULL) AND (kind = 'collect') = (machine_id IS NULL)
        AND (kind = 'collect') = (point_id IS NULL)),
    ADD COLUMN reference text COLLATE "C",
    ADD COLUMN hurried boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX job_one_open_collect ON job (vault_id) WHERE kind = 'collect' AND state NOT IN (@TERMINAL_STATES@);
CREATE INDEX job_collects ON job (vault_id, id DESC) WHERE kind = 'collect';
CREATE INDEX job_may_have_sealed ON job (vault_id)
    WHERE kind = 'backup' AND committing_at IS NOT NULL AND state NOT IN (@TERMINAL_STATES@);
CREATE INDEX job_unsettled ON job (vault_id, point_id)
    WHERE kind = 'backup' AND committing_at IS NOT NULL AND state IN ('cancelled', 'discarded', 'expired');
CREATE INDEX job_of_point ON job (point_id) WHERE kind <> 'collect' AND state NOT IN (@TERMINAL_STATES@);
CREATE INDEX job_failed_of_vault ON job (vault_id, failed_at) WHERE failed_at IS NOT NULL;

-- When retention looks at an item next: at once when it has a new point, a day after the last look otherwise.
ALTER TABLE item
    ADD COLUMN retention_due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN held_back integer CHECK (held_back > 0);
CREATE INDEX item_retention_due ON item (retention_due_at) WHERE removed_at IS NULL;
CREATE INDEX item_held_back ON item (id) WHERE held_back IS NOT NULL;
CREATE INDEX condemned_doomed ON condemned_pack (vault_id) WHERE doomed_at IS NOT NULL;
CREATE INDEX condemned_there ON condemned_pack (vault_id) WHERE deleted_at IS NULL;

-- A point that has expired takes nothing along: packs that others need stay. What is stored grows with points, and every
-- collection that sees the whole vault says what it has come to.
CREATE OR REPLACE FUNCTION count_points() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'expired' THEN
        UPDATE vault SET points = points - 1 WHERE id = NEW.vault_id;
    ELSE
        UPDATE vault SET points = points + 1, bytes_stored = bytes_stored + NEW.bytes_stored WHERE id = NEW.vault_id;
    END IF;
    RETURN NULL;
END $$;
