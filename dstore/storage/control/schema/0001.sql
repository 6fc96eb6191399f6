-- Control's relational store. PostgreSQL's spelling; `sqlite.py` says what SQLite calls differently.
-- Texts compare by their bytes on both (COLLATE "C"), so that lists have one order everywhere.
-- Whatever is named sealed_ is under control's own key, which is never in here.
CREATE TABLE control_plane (
    uuid            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    singleton       BIGINT           NOT NULL DEFAULT 1 UNIQUE CHECK (singleton = 1),
    location        TEXT COLLATE "C" NOT NULL,
    ca_certificate  TEXT COLLATE "C" NOT NULL,  -- PEM
    sealed_ca_key   BYTEA            NOT NULL,
    sealed_keys     BYTEA            NOT NULL,
    leader_epoch    BIGINT           NOT NULL,  -- only grows: an old leader is refused
    created_at_us   BIGINT           NOT NULL
);

CREATE TABLE control_process (
    uuid               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    uri                TEXT COLLATE "C" NOT NULL,
    state              TEXT COLLATE "C" NOT NULL,
    certificate_serial TEXT COLLATE "C" NOT NULL,
    version            TEXT COLLATE "C" NOT NULL,
    joined_at_us       BIGINT           NOT NULL,
    changed_at_us      BIGINT           NOT NULL
);

CREATE TABLE node (
    uuid               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    zone               TEXT COLLATE "C" NOT NULL,
    uri                TEXT COLLATE "C" NOT NULL,
    state              TEXT COLLATE "C" NOT NULL,
    sealed_key         BYTEA            NOT NULL,  -- the (node, control plane) share
    certificate_serial TEXT COLLATE "C" NOT NULL,
    capacity_bytes     BIGINT           NOT NULL,
    version            TEXT COLLATE "C" NOT NULL,
    joined_at_us       BIGINT           NOT NULL,
    changed_at_us      BIGINT           NOT NULL
);

CREATE TABLE proxy (
    uuid               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    zone               TEXT COLLATE "C" NOT NULL,
    uri                TEXT COLLATE "C" NOT NULL,
    state              TEXT COLLATE "C" NOT NULL,
    sealed_key         BYTEA            NOT NULL,  -- the (proxy, control plane) share
    certificate_serial TEXT COLLATE "C" NOT NULL,
    version            TEXT COLLATE "C" NOT NULL,
    joined_at_us       BIGINT           NOT NULL,
    changed_at_us      BIGINT           NOT NULL
);

CREATE TABLE tenant (
    name          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    uuid          TEXT COLLATE "C" NOT NULL UNIQUE,
    sealed_key    BYTEA            NOT NULL,  -- the (tenant, control plane) share
    limits        TEXT COLLATE "C" NOT NULL,  -- JSON
    status        TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT           NOT NULL
);

CREATE TABLE table_definition (
    tenant        TEXT COLLATE "C" NOT NULL REFERENCES tenant (name),
    name          TEXT COLLATE "C" NOT NULL,
    table_id      TEXT COLLATE "C" NOT NULL UNIQUE,
    definition    TEXT COLLATE "C" NOT NULL,  -- JSON
    status        TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT           NOT NULL,
    changed_at_us BIGINT           NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE table_range (
    range_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    table_id  TEXT COLLATE "C" NOT NULL REFERENCES table_definition (table_id),
    low_hash  BIGINT           NOT NULL,  -- 0 to 2^32 - 1, closed interval
    high_hash BIGINT           NOT NULL,
    epoch     BIGINT           NOT NULL,
    node      TEXT COLLATE "C" NOT NULL REFERENCES node (uuid),
    status    TEXT COLLATE "C" NOT NULL,
    UNIQUE (table_id, low_hash),
    CHECK (0 <= low_hash AND low_hash <= high_hash AND high_hash <= 4294967295)
);
CREATE INDEX table_range_by_node ON table_range (node, range_id);

CREATE TABLE access_key (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant        TEXT COLLATE "C" NOT NULL REFERENCES tenant (name),
    sealed_secret BYTEA            NOT NULL,
    created_at_us BIGINT           NOT NULL
);
CREATE INDEX access_key_by_tenant ON access_key (tenant, id);

CREATE TABLE bearer_token (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant        TEXT COLLATE "C" REFERENCES tenant (name),  -- NULL: the operator's
    digest        BYTEA            NOT NULL,
    created_at_us BIGINT           NOT NULL
);
CREATE INDEX bearer_token_by_tenant ON bearer_token (tenant, id);

CREATE TABLE join_token (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    digest        BYTEA            NOT NULL,
    role          TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT           NOT NULL,
    expires_at_us BIGINT           NOT NULL,
    used_at_us    BIGINT,                     -- NULL until a component joined with it
    used_by       TEXT COLLATE "C",
    used_key      TEXT COLLATE "C",
    CHECK ((used_at_us IS NULL) = (used_by IS NULL) AND (used_by IS NULL) = (used_key IS NULL))
);
CREATE INDEX join_token_by_expiry ON join_token (expires_at_us);

CREATE TABLE task (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind          TEXT COLLATE "C" NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    parameters    TEXT COLLATE "C" NOT NULL,  -- JSON
    progress      TEXT COLLATE "C" NOT NULL,  -- JSON
    error         TEXT COLLATE "C" NOT NULL,
    attempts      BIGINT           NOT NULL,
    due_at_us     BIGINT           NOT NULL,
    owner         TEXT COLLATE "C",
    created_at_us BIGINT           NOT NULL,
    changed_at_us BIGINT           NOT NULL
);
CREATE UNIQUE INDEX task_unfinished ON task (kind, subject) WHERE state IN ('queued', 'running');
CREATE INDEX task_by_due ON task (due_at_us, id) WHERE state IN ('queued', 'running');
CREATE INDEX task_by_change ON task (changed_at_us, id);

CREATE TABLE notice (
    node       TEXT COLLATE "C" NOT NULL,
    at_us      BIGINT           NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    details    TEXT COLLATE "C" NOT NULL,  -- JSON
    seen_at_us BIGINT,
    PRIMARY KEY (node, at_us)
);
CREATE INDEX notice_by_time ON notice (at_us, node);

CREATE TABLE audit (
    sequence BIGINT           NOT NULL PRIMARY KEY,
    at_us    BIGINT           NOT NULL,
    actor    TEXT COLLATE "C" NOT NULL,
    action   TEXT COLLATE "C" NOT NULL,
    subject  TEXT COLLATE "C" NOT NULL,
    result   TEXT COLLATE "C" NOT NULL,
    details  TEXT COLLATE "C" NOT NULL,  -- JSON
    digest   BYTEA            NOT NULL   -- of this entry and the digest before it
);

CREATE TABLE outbox (
    sequence     BIGINT           NOT NULL PRIMARY KEY,  -- in the order of commits
    batch        BIGINT           NOT NULL,              -- sequence of the first that belongs with it
    key          TEXT COLLATE "C" NOT NULL,
    value        BYTEA,                                  -- NULL deletes the key
    mod_revision BIGINT                                  -- NULL: whatever the key's is
);

-- Numbers given out so far. A sequence of PostgreSQL's would give them in another order than that
-- of the commits, and with gaps.
CREATE TABLE counter (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    last BIGINT           NOT NULL
);
INSERT INTO counter (name, last) VALUES ('outbox', 0);
