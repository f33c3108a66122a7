-- Roles say whom they are for; what is looked for and what is swept away is found without reading all.

ALTER TABLE role ADD COLUMN about TEXT NOT NULL DEFAULT '';
CREATE INDEX role_grant_by_role ON role_grant (role);
CREATE INDEX login_by_holder ON login (holder, created_ms);
CREATE INDEX login_by_end ON login (expires_ms);
CREATE INDEX audit_by_actor ON audit (actor, id);
CREATE INDEX audit_by_workspace ON audit (workspace, id);
CREATE INDEX audit_unsealed ON audit (id) WHERE sequence IS NULL;
CREATE INDEX idempotency_by_time ON idempotency (created_ms);
