-- Times are milliseconds since 1970. Ids that are texts are UUIDs of version 7. `revision` counts the changes of a row,
-- from 1. What stands between @ is said in the words of each database.

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

-- Who did what to which row. Rows are added and never changed, but for their seal.
CREATE TABLE audit (
    id @identity@,
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

CREATE INDEX audit_by_time ON audit (at_ms, id);
CREATE INDEX audit_by_subject ON audit (noun, subject, at_ms);

-- What others have to be told of: written with the change itself, taken out when it was told.
CREATE TABLE outbox (
    id @identity@,
    at_ms BIGINT NOT NULL,
    topic TEXT NOT NULL,
    body TEXT NOT NULL
);

-- One row for each kind of work that only one process may do. `epoch` grows whenever somebody else takes it over.
CREATE TABLE lease (
    work TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);

-- Parts of a config as they were written: what becomes of them is the next revision's.
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

-- Published configs, numbered for each workspace. They are never changed.
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

-- People who use the console and the admin API.
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

-- Named sets of permissions. Those that come with the program are not here.
CREATE TABLE role (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    permissions TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);

-- Who has which role where; an empty workspace stands for all of them.
CREATE TABLE role_grant (
    holder TEXT NOT NULL REFERENCES yett_user (id) ON DELETE CASCADE,
    workspace TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (holder, workspace, role)
);

-- Sessions of browsers and tokens of machines: only hashes of what is shown.
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

-- Who calls APIs. What is kept of them changes one record at a time, outside revisions.
CREATE TABLE consumer (
    id TEXT NOT NULL PRIMARY KEY,
    workspace TEXT NOT NULL REFERENCES workspace (id),
    name TEXT NOT NULL,
    -- Plan, groups and the like, as JSON.
    body TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (workspace, name)
);

CREATE TABLE application (
    id TEXT NOT NULL PRIMARY KEY,
    consumer TEXT NOT NULL REFERENCES consumer (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (consumer, name)
);

-- Ways to prove who calls: only hashes of what is shown.
CREATE TABLE credential (
    id TEXT NOT NULL PRIMARY KEY,
    consumer TEXT NOT NULL REFERENCES consumer (id) ON DELETE CASCADE,
    application TEXT REFERENCES application (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    hash BYTEA NOT NULL,
    -- What people tell it by, such as the first letters of a key.
    hint TEXT NOT NULL,
    body TEXT NOT NULL,
    expires_ms BIGINT,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (kind, hash)
);

-- What is kept for the platform as a whole, as JSON.
CREATE TABLE setting (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL,
    revision BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);

-- Secrets of workspaces, encrypted with a key that is encrypted with the master key of this number.
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

-- Answers kept for requests that may come again with the same key.
CREATE TABLE idempotency (
    holder TEXT NOT NULL,
    key TEXT NOT NULL,
    request BYTEA NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (holder, key)
);
