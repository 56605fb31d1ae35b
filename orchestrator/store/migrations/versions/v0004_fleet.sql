-- Whose a machine is and where it stands.
CREATE TABLE tenant (
    name text COLLATE "C" PRIMARY KEY,
    weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO tenant (name) VALUES ('default');

ALTER TABLE machine
    ADD COLUMN tenant text COLLATE "C" NOT NULL DEFAULT 'default' REFERENCES tenant,
    ADD COLUMN location text COLLATE "C" NOT NULL DEFAULT '';

-- chosen: 'item' when the item names its policy, 'tags' when its tags are what a policy selects.
ALTER TABLE item
    ADD COLUMN tags text[] NOT NULL DEFAULT '{}',
    ADD COLUMN hypervisor text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN chosen text NOT NULL DEFAULT 'item' CHECK (chosen IN ('item', 'tags')),
    ADD COLUMN rpo_seconds integer CHECK (rpo_seconds > 0),
    ADD COLUMN retention jsonb,
    ADD COLUMN recent_seconds real[] NOT NULL DEFAULT '{}',
    ADD COLUMN recent_rates real[] NOT NULL DEFAULT '{}',
    ADD COLUMN newest_point_at timestamptz;
CREATE INDEX item_tags ON item USING gin (tags) WHERE removed_at IS NULL;
CREATE INDEX item_by_name_of_policy ON item (policy, name) WHERE removed_at IS NULL;
UPDATE item SET newest_point_at = (
    SELECT max(r.cataloged_at) FROM recovery_point r WHERE r.item_id = item.id AND r.state = 'sealed');

-- The order of a tenant's queue is (aged_rank, latest_start, id). ages_at is when a waiting job moves up a class.
ALTER TABLE job
    ADD COLUMN tenant text COLLATE "C" NOT NULL DEFAULT 'default',
    ADD COLUMN location text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN hypervisor text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN aged_rank integer NOT NULL DEFAULT 0,
    ADD COLUMN ages_at timestamptz,
    ADD COLUMN latest_start timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN estimate real NOT NULL DEFAULT 600 CHECK (estimate >= 0),
    ADD COLUMN mib_per_second integer NOT NULL DEFAULT 1 CHECK (mib_per_second > 0),
    ADD COLUMN start_by timestamptz,
    ADD COLUMN finish_by timestamptz,
    ADD COLUMN longest_pause integer NOT NULL DEFAULT 600 CHECK (longest_pause >= 0),
    ADD COLUMN attempt_started_at timestamptz,
    ADD COLUMN failed_at timestamptz,
    ADD COLUMN cancel_reason text;
UPDATE job SET aged_rank = rank, latest_start = created_at, ages_at = created_at + interval '2 hours'
WHERE state NOT IN (@TERMINAL_STATES@);
ALTER TABLE job ALTER COLUMN latest_start DROP DEFAULT, ALTER COLUMN aged_rank DROP DEFAULT;
DROP INDEX job_queue;
CREATE INDEX job_queue ON job (tenant, aged_rank, latest_start, id) WHERE state = 'available' AND admitted_at IS NULL;
CREATE INDEX job_ages ON job (ages_at) WHERE state = 'available' AND admitted_at IS NULL AND ages_at IS NOT NULL;
CREATE INDEX job_failed ON job (failed_at) WHERE failed_at IS NOT NULL;
CREATE INDEX job_finished ON job (state, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX job_again ON job (error_code)
    WHERE state IN ('available', 'running', 'committing') AND error_code IS NOT NULL;
CREATE INDEX job_start_by ON job (start_by)
    WHERE state IN ('scheduled', 'available', 'retryable') AND start_by IS NOT NULL;
CREATE INDEX job_finish_by ON job (finish_by)
    WHERE state IN ('running', 'committing') AND finish_by IS NOT NULL;

-- What an operator wants may be less than what is in use: capacity then follows in_use down, and nothing new fits.
ALTER TABLE slot_scope ADD COLUMN wanted integer CHECK (wanted >= 0);
UPDATE slot_scope SET wanted = capacity;
ALTER TABLE slot_scope ALTER COLUMN wanted SET NOT NULL;
ALTER TABLE slot_hold ADD COLUMN n integer NOT NULL DEFAULT 1 CHECK (n > 0);
CREATE INDEX slot_hold_of ON slot_hold (scope, key);

-- What a vault holds is counted as points come and go: a large fleet's points are too many to be counted for a list.
ALTER TABLE vault
    ADD COLUMN points bigint NOT NULL DEFAULT 0 CHECK (points >= 0),
    ADD COLUMN bytes_stored bigint NOT NULL DEFAULT 0;
UPDATE vault SET (points, bytes_stored) = (
    SELECT count(*), coalesce(sum(r.bytes_stored), 0) FROM recovery_point r
    WHERE r.vault_id = vault.id AND r.state <> 'expired');
CREATE FUNCTION count_points() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign integer := CASE WHEN NEW.state = 'expired' THEN -1 ELSE 1 END;
BEGIN
    UPDATE vault SET points = points + sign, bytes_stored = bytes_stored + sign * NEW.bytes_stored WHERE id = NEW.vault_id;
    RETURN NULL;
END $$;
CREATE TRIGGER point_came AFTER INSERT ON recovery_point FOR EACH ROW
    WHEN (NEW.state <> 'expired') EXECUTE FUNCTION count_points();
CREATE TRIGGER point_went AFTER UPDATE OF state ON recovery_point FOR EACH ROW
    WHEN ((OLD.state = 'expired') <> (NEW.state = 'expired')) EXECUTE FUNCTION count_points();

-- How many jobs have ended so, up to a time: what has ended never changes, so it is counted once.
CREATE TABLE job_tally (
    state text PRIMARY KEY CHECK (state IN (@TERMINAL_STATES@)),
    n bigint NOT NULL DEFAULT 0,
    until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO job_tally (state) SELECT unnest(ARRAY[@TERMINAL_STATES@]);
