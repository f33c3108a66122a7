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
