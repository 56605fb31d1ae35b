-- Ids and names are compared byte by byte, whatever the database's collation, so that beginnings of ids are ranges.
CREATE TABLE machine (
    id text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    key_slots jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE vault (
    id text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    url text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE policy (
    name text COLLATE "C" PRIMARY KEY,
    newest integer NOT NULL
);

CREATE TABLE policy_version (
    id text COLLATE "C" PRIMARY KEY,
    policy text COLLATE "C" NOT NULL REFERENCES policy,
    n integer NOT NULL CHECK (n > 0),
    text text NOT NULL,
    spec jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (policy, n)
);

CREATE TABLE item (
    id text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    workload text NOT NULL,
    machine_id text COLLATE "C" NOT NULL REFERENCES machine,
    vault_id text COLLATE "C" NOT NULL REFERENCES vault,
    policy text COLLATE "C" REFERENCES policy,
    source jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    paused_at timestamptz,
    removed_at timestamptz,
    planned_through timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX item_name ON item (name) WHERE removed_at IS NULL;
CREATE INDEX item_machine ON item (machine_id);
CREATE INDEX item_policy ON item (policy);
CREATE INDEX item_to_plan ON item (planned_through) WHERE removed_at IS NULL AND paused_at IS NULL AND policy IS NOT NULL;

CREATE TABLE job (
    id text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('backup', 'restore', 'verify')),
    state text NOT NULL CHECK (state IN (@JOB_STATES@)),
    trigger text NOT NULL CHECK (trigger IN ('demand', 'schedule')),
    rank integer NOT NULL,
    item_id text COLLATE "C" NOT NULL REFERENCES item,
    machine_id text COLLATE "C" NOT NULL REFERENCES machine,
    vault_id text COLLATE "C" NOT NULL REFERENCES vault,
    point_id text COLLATE "C" NOT NULL,
    requested_type text CHECK (requested_type IN ('full', 'differential', 'incremental')),
    type text CHECK (type IN ('full', 'differential', 'incremental')),
    attempt integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    max_attempts integer NOT NULL DEFAULT 3 CHECK (max_attempts > 0),
    losses integer NOT NULL DEFAULT 0 CHECK (losses >= 0),
    epoch bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz NOT NULL,
    admitted_at timestamptz,
    rung_at timestamptz,
    started_at timestamptz,
    committing_at timestamptz,
    finished_at timestamptz,
    cancel_requested_at timestamptz,
    backoff_seconds double precision NOT NULL DEFAULT 0,
    wait_reason text,
    error_code text,
    error_message text,
    stats jsonb,
    warnings jsonb NOT NULL DEFAULT '[]',
    policy_version text COLLATE "C" REFERENCES policy_version,
    requested_by text NOT NULL,
    retry_of text COLLATE "C" REFERENCES job,
    target text,
    paths jsonb NOT NULL DEFAULT '[]',
    conflict text CHECK (conflict IN ('skip', 'overwrite', 'rename')),
    full_check boolean,
    CHECK ((finished_at IS NOT NULL) = (state IN (@TERMINAL_STATES@))),
    CHECK (state NOT IN ('running', 'committing') OR admitted_at IS NOT NULL),
    CONSTRAINT leave_to_seal_or_cancel CHECK (state <> 'committing' OR cancel_requested_at IS NULL)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX job_one_active_backup ON job (item_id)
    WHERE kind = 'backup' AND (state IN ('running', 'committing') OR (state = 'available' AND admitted_at IS NOT NULL));
CREATE INDEX job_queue ON job (rank, created_at, id) WHERE state = 'available' AND admitted_at IS NULL;
CREATE INDEX job_due ON job (due_at) WHERE state IN ('scheduled', 'retryable');
CREATE INDEX job_admitted ON job (admitted_at) WHERE state = 'available' AND admitted_at IS NOT NULL;
CREATE INDEX job_open ON job (item_id, kind) WHERE state NOT IN (@TERMINAL_STATES@);
CREATE INDEX job_by_item ON job (item_id, id DESC);
CREATE INDEX job_by_state ON job (state, id DESC);

CREATE TABLE unit (
    job_id text COLLATE "C" NOT NULL REFERENCES job,
    no integer NOT NULL,
    stage text NOT NULL DEFAULT 'main',
    claim_id text COLLATE "C",
    worker text,
    session text,
    lease_expires_at timestamptz,
    progress jsonb,
    completed_epoch bigint,
    completed_claim_id text COLLATE "C",
    PRIMARY KEY (job_id, no),
    CHECK ((claim_id IS NULL) = (lease_expires_at IS NULL)),
    CHECK ((claim_id IS NULL) = (session IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX unit_lease ON unit (lease_expires_at) WHERE claim_id IS NOT NULL;
CREATE INDEX unit_worker ON unit (worker) WHERE claim_id IS NOT NULL;

CREATE TABLE fire (
    item_id text COLLATE "C" NOT NULL REFERENCES item,
    schedule_no integer NOT NULL,
    nominal timestamp NOT NULL,
    zone text NOT NULL,
    instant timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    version_id text COLLATE "C" NOT NULL REFERENCES policy_version,
    state text NOT NULL DEFAULT 'planned' CHECK (state IN (@FIRE_STATES@)),
    reason text,
    job_id text COLLATE "C" UNIQUE REFERENCES job,
    settled_at timestamptz,
    PRIMARY KEY (item_id, schedule_no, zone, nominal),
    CHECK ((state = 'filed') = (job_id IS NOT NULL)),
    CHECK ((state = 'planned') = (settled_at IS NULL))
);
CREATE INDEX fire_planned ON fire (due_at, item_id) WHERE state = 'planned';
CREATE INDEX fire_missed ON fire (settled_at) WHERE state = 'missed';

CREATE TABLE slot_scope (
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    capacity integer NOT NULL CHECK (capacity >= 0),
    floor integer NOT NULL DEFAULT 0 CHECK (floor >= 0),
    in_use integer NOT NULL DEFAULT 0,
    paused boolean NOT NULL DEFAULT false,
    PRIMARY KEY (scope, key),
    CONSTRAINT never_oversubscribed CHECK (in_use >= 0 AND in_use <= capacity)
) WITH (fillfactor = 50);
INSERT INTO slot_scope (scope, key, capacity, floor) VALUES ('global', '', @GLOBAL_CAPACITY@, @GLOBAL_FLOOR@);

CREATE TABLE slot_hold (
    job_id text COLLATE "C" NOT NULL REFERENCES job,
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job_id, scope, key),
    FOREIGN KEY (scope, key) REFERENCES slot_scope
);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    unit integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    taken_until timestamptz,
    published_at timestamptz
);
CREATE INDEX outbox_pending ON outbox (id) WHERE published_at IS NULL;
CREATE INDEX outbox_pending_job ON outbox (job_id) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE recovery_point (
    id text COLLATE "C" PRIMARY KEY,
    job_id text COLLATE "C" NOT NULL UNIQUE REFERENCES job,
    item_id text COLLATE "C" NOT NULL REFERENCES item,
    machine_id text COLLATE "C" NOT NULL REFERENCES machine,
    vault_id text COLLATE "C" NOT NULL REFERENCES vault,
    type text NOT NULL CHECK (type IN ('full', 'differential', 'incremental')),
    reference text COLLATE "C",
    state text NOT NULL DEFAULT 'sealed' CHECK (state IN (@POINT_STATES@)),
    -- By the worker's clock, for people; what is newest goes by the order in which the catalog learned of the points.
    sealed_at timestamptz NOT NULL,
    cataloged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    files bigint NOT NULL,
    bytes bigint NOT NULL,
    bytes_transferred bigint NOT NULL,
    bytes_stored bigint NOT NULL,
    manifest text NOT NULL,
    manifest_sha256 text NOT NULL,
    warnings bigint NOT NULL,
    verified_at timestamptz,
    verified_how text,
    held_until timestamptz,
    CHECK ((verified_at IS NULL) = (verified_how IS NULL))
);
CREATE INDEX point_by_item ON recovery_point (item_id, cataloged_at DESC, id DESC);
CREATE INDEX point_by_time ON recovery_point (cataloged_at DESC, id DESC);
CREATE INDEX point_by_vault ON recovery_point (vault_id);

CREATE TABLE audit (
    seq bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail jsonb NOT NULL,
    previous text NOT NULL UNIQUE,
    hash text NOT NULL UNIQUE
);

CREATE TABLE idempotency_key (
    key text COLLATE "C" PRIMARY KEY,
    request_hash text NOT NULL,
    job_id text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idempotency_age ON idempotency_key (created_at);

CREATE TABLE worker (
    name text COLLATE "C" PRIMARY KEY,
    session text NOT NULL,
    version text NOT NULL,
    concurrency integer NOT NULL,
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE leader (
    name text PRIMARY KEY,
    holder text NOT NULL,
    term bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

-- A job moves only along the table, never back in epoch, and not at all once it has ended.
CREATE FUNCTION guard_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state IN (@TERMINAL_STATES@) THEN
        RAISE EXCEPTION 'job % (%) is not changed', OLD.id, OLD.state USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.epoch < OLD.epoch THEN
        RAISE EXCEPTION 'job %: the epoch never goes back', OLD.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state <> OLD.state AND NOT (OLD.state || '>' || NEW.state) = ANY (ARRAY[@JOB_MOVES@]) THEN
        RAISE EXCEPTION 'job %: no way from % to %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_job BEFORE UPDATE OR DELETE ON job FOR EACH ROW EXECUTE FUNCTION guard_job();

CREATE FUNCTION forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON policy_version FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER insert_only_whole BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();
CREATE TRIGGER settled_is_final BEFORE UPDATE OR DELETE ON fire FOR EACH ROW
    WHEN (OLD.state <> 'planned') EXECUTE FUNCTION forbid_change();
