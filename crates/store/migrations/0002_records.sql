-- Consumers and what belongs to them are searched, suspended and counted, and gateways follow their changes.

ALTER TABLE consumer ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE consumer ADD COLUMN plan TEXT;
ALTER TABLE consumer ADD COLUMN is_suspended BIGINT NOT NULL DEFAULT 0;
-- Name and title in small letters: what a search looks at.
ALTER TABLE consumer ADD COLUMN search TEXT NOT NULL DEFAULT '';
UPDATE consumer SET search = lower(name);
CREATE INDEX consumer_by_plan ON consumer (workspace, plan, name);

-- The groups of consumers, to find these by them.
CREATE TABLE consumer_group (
    consumer TEXT NOT NULL REFERENCES consumer (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    PRIMARY KEY (consumer, name)
);

ALTER TABLE application ADD COLUMN workspace TEXT NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN plan TEXT;
ALTER TABLE application ADD COLUMN is_suspended BIGINT NOT NULL DEFAULT 0;
ALTER TABLE application ADD COLUMN search TEXT NOT NULL DEFAULT '';
UPDATE application SET
    search = lower(name),
    workspace = (SELECT consumer.workspace FROM consumer WHERE consumer.id = application.consumer);
CREATE INDEX application_by_name ON application (workspace, name, id);
CREATE INDEX application_by_plan ON application (workspace, plan, name, id);

-- What one shows is unlike what others of the same workspace show; other workspaces have credentials of their own.
CREATE TABLE credential_next (
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
INSERT INTO credential_next
    (id, workspace, consumer, application, kind, name, hash, hint, body, expires_ms, revision, created_ms, updated_ms)
    SELECT credential.id, consumer.workspace, consumer.id, application, kind, '', hash, hint, credential.body, expires_ms,
        credential.revision, credential.created_ms, credential.updated_ms
    FROM credential JOIN consumer ON consumer.id = credential.consumer;
DROP TABLE credential;
ALTER TABLE credential_next RENAME TO credential;
CREATE INDEX credential_by_consumer ON credential (consumer, id);
CREATE INDEX credential_by_application ON credential (application, id);

-- How many rows of a noun a workspace has, so that nobody has to count them.
CREATE TABLE tally (
    workspace TEXT NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    noun TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (workspace, noun)
);
INSERT INTO tally (workspace, noun, count) SELECT workspace, 'consumer', COUNT(*) FROM consumer GROUP BY workspace;
INSERT INTO tally (workspace, noun, count) SELECT workspace, 'application', COUNT(*) FROM application GROUP BY workspace;
INSERT INTO tally (workspace, noun, count) SELECT workspace, 'credential', COUNT(*) FROM credential GROUP BY workspace;

-- The number of the transaction that wrote an event: events appear when their transactions end, in whatever order.
ALTER TABLE outbox ADD COLUMN xid BIGINT NOT NULL DEFAULT @transaction@;
CREATE INDEX outbox_by_xid ON outbox (xid, id);
