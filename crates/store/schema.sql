-- What all migrations together make of an empty SQLite database. Written by `YETT_BLESS=1 cargo test -p store`.

CREATE TABLE application (
    id TEXT NOT NULL PRIMARY KEY,
    consumer TEXT NOT NULL REFERENCES consumer (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL, workspace TEXT NOT NULL DEFAULT '', title TEXT NOT NULL DEFAULT '', plan TEXT, is_suspended BIGINT NOT NULL DEFAULT 0, search TEXT NOT NULL DEFAULT '',
    UNIQUE (consumer, name)
);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms BIGINT NOT NULL,
    workspace TEXT,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    noun TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- The row as JSON, with secrets masked.
    was TEXT,
    became TEXT,
    address TEXT,
    request TEXT,
    -- Place in the chain, and the hash of it and all before it; none until it is sealed.
    sequence BIGINT UNIQUE,
    seal BYTEA
);

CREATE TABLE consumer (
    id TEXT NOT NULL PRIMARY KEY,
    workspace TEXT NOT NULL REFERENCES workspace (id),
    name TEXT NOT NULL,
    -- Plan, groups and the like, as JSON.
    body TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL, title TEXT NOT NULL DEFAULT '', plan TEXT, is_suspended BIGINT NOT NULL DEFAULT 0, search TEXT NOT NULL DEFAULT '',
    UNIQUE (workspace, name)
);

CREATE TABLE consumer_group (
    consumer TEXT NOT NULL REFERENCES consumer (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    PRIMARY KEY (consumer, name)
);

CREATE TABLE "credential" (
    id TEXT NOT NULL PRIMARY KEY,
    workspace TEXT NOT NULL REFERENCES workspace (id),
    consumer TEXT NOT NULL REFERENCES consumer (id) ON DELETE CASCADE,
    application TEXT REFERENCES application (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    -- By what it is found: never what is shown itself, where that is secret.
    hash BYTEA NOT NULL,
    hint TEXT NOT NULL,
    -- What is known of it, as JSON.
    body TEXT NOT NULL,
    -- The hash of a password in the PHC format.
    password TEXT,
    -- A secret that is needed to verify what is shown: see the table `secret`.
    master BIGINT,
    wrapped BYTEA,
    sealed BYTEA,
    from_ms BIGINT,
    expires_ms BIGINT,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (workspace, kind, hash)
);

CREATE TABLE idempotency (
    holder TEXT NOT NULL,
    key TEXT NOT NULL,
    request BYTEA NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (holder, key)
);

CREATE TABLE lease (
    work TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);

CREATE TABLE login (
    hash BYTEA NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    holder TEXT NOT NULL REFERENCES yett_user (id) ON DELETE CASCADE,
    -- `session`, `token` or `link`.
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    -- What a token may do, as JSON; all that its holder may when empty.
    scopes TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    used_ms BIGINT NOT NULL
);

CREATE TABLE migration (number BIGINT NOT NULL PRIMARY KEY, at_ms BIGINT NOT NULL);

CREATE TABLE object (
    id TEXT NOT NULL PRIMARY KEY,
    workspace TEXT NOT NULL REFERENCES workspace (id),
    kind TEXT NOT NULL,
    -- What it is a part of, such as the API of a route; empty for parts of the workspace itself.
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Among those of one kind and owner, for kinds whose order counts.
    position BIGINT NOT NULL,
    body TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (workspace, kind, owner, name)
);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms BIGINT NOT NULL,
    topic TEXT NOT NULL,
    body TEXT NOT NULL
, xid BIGINT NOT NULL DEFAULT 0);

CREATE TABLE revision (
    workspace TEXT NOT NULL REFERENCES workspace (id),
    number BIGINT NOT NULL,
    -- The whole config, and its SHA-256.
    config TEXT NOT NULL,
    digest BYTEA NOT NULL,
    note TEXT NOT NULL,
    author TEXT NOT NULL,
    -- The revision that was taken up again, if this is a roll-back.
    again BIGINT,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (workspace, number)
);

CREATE TABLE role (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    permissions TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
, about TEXT NOT NULL DEFAULT '');

CREATE TABLE role_grant (
    holder TEXT NOT NULL REFERENCES yett_user (id) ON DELETE CASCADE,
    workspace TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (holder, workspace, role)
);

CREATE TABLE second_factor (
    holder TEXT NOT NULL PRIMARY KEY REFERENCES yett_user (id) ON DELETE CASCADE,
    -- 1 once the user has shown a password that comes of the seed: from then on it is asked for.
    is_confirmed BIGINT NOT NULL,
    -- The step of time of the last password that was taken: none is taken twice.
    step BIGINT NOT NULL,
    -- SHA-256 of codes that each work once without the seed, as a JSON list of hexadecimal digits.
    codes TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE secret (
    id TEXT NOT NULL PRIMARY KEY,
    workspace TEXT NOT NULL REFERENCES workspace (id),
    name TEXT NOT NULL,
    master BIGINT NOT NULL,
    wrapped BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (workspace, name)
);

CREATE TABLE setting (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL,
    revision BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE tally (
    workspace TEXT NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    noun TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (workspace, noun)
);

CREATE TABLE workspace (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    -- What the platform team delegates: hosts and path prefixes, as JSON.
    grants TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE yett_user (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL,
    -- A hash in the PHC format; none of who comes from an identity provider only.
    password TEXT,
    -- The secret of one-time passwords, encrypted.
    totp BYTEA,
    -- Issuer and subject at an identity provider.
    issuer TEXT,
    subject TEXT,
    is_disabled BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (issuer, subject)
);

CREATE INDEX application_by_plan ON application (workspace, plan, name, id);

CREATE INDEX application_by_search ON application (workspace, name, id, search, consumer);

CREATE INDEX audit_by_actor ON audit (actor, id);

CREATE INDEX audit_by_subject ON audit (noun, subject, at_ms);

CREATE INDEX audit_by_time ON audit (at_ms, id);

CREATE INDEX audit_by_workspace ON audit (workspace, id);

CREATE INDEX audit_unsealed ON audit (id) WHERE sequence IS NULL;

CREATE INDEX consumer_by_plan ON consumer (workspace, plan, name);

CREATE INDEX consumer_by_search ON consumer (workspace, name, search, id);

CREATE INDEX consumer_group_by_name ON consumer_group (name, consumer);

CREATE INDEX credential_by_application ON credential (application, id);

CREATE INDEX credential_by_consumer ON credential (consumer, id);

CREATE INDEX idempotency_by_time ON idempotency (created_ms);

CREATE INDEX login_by_end ON login (expires_ms);

CREATE INDEX login_by_holder ON login (holder, created_ms);

CREATE INDEX outbox_by_xid ON outbox (xid, id);

CREATE INDEX role_grant_by_role ON role_grant (role);
