-- news_at is set while somebody is still to be told: of the opening, of the closing, or once more.
CREATE TABLE alarm (
    id text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL,
    target text COLLATE "C" NOT NULL,
    subject text NOT NULL,
    message text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz,
    news_at timestamptz DEFAULT clock_timestamp(),
    told_at timestamptz
);
CREATE UNIQUE INDEX alarm_open ON alarm (kind, target) WHERE closed_at IS NULL;
CREATE INDEX alarm_open_by_id ON alarm (id) WHERE closed_at IS NULL;
CREATE INDEX alarm_news ON alarm (news_at, id) WHERE news_at IS NOT NULL;

CREATE TABLE alarm_message (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    body text NOT NULL,
    tone text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    tried integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz
);
CREATE INDEX alarm_message_pending ON alarm_message (id) WHERE delivered_at IS NULL;
CREATE INDEX alarm_message_delivered ON alarm_message (delivered_at) WHERE delivered_at IS NOT NULL;

-- The auditor's one row: when its last round was, and up to when it has looked at new points.
CREATE TABLE auditor (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    round_at timestamptz NOT NULL,
    looked_through timestamptz NOT NULL
);

-- The 80th percentile of an item's last backups, as domain/estimate.py has it: a fleet's promises are judged in one scan.
CREATE FUNCTION percentile_80(runs real[]) RETURNS real LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT s FROM unnest(runs) AS s ORDER BY s
    OFFSET greatest(0, least(cardinality(runs) - 1, 8 * cardinality(runs) / 10)) LIMIT 1
$$;
ALTER TABLE item ADD COLUMN expected_seconds real GENERATED ALWAYS AS (percentile_80(recent_seconds)) STORED;

CREATE INDEX point_gaps ON recovery_point (item_id, cataloged_at) WHERE state <> 'damaged';
CREATE INDEX point_damaged ON recovery_point (id) WHERE state = 'damaged';
CREATE INDEX point_verified ON recovery_point (item_id, verified_at) WHERE verified_at IS NOT NULL;
CREATE INDEX fire_next ON fire (item_id, due_at) WHERE state = 'planned';
