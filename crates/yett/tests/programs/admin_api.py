"""Drives the whole admin API by its own OpenAPI document, with Schemathesis. Arguments: where the API is, what its first link ends with,
and how many cases each operation is tried with at random. First every operation is done once, as people do them; then all are
tried with what the document allows and with what it does not. Ends with 0 when every operation has reached 2xx, none has failed
within the server, and no answer was another than the document says."""

import base64
import hashlib
import hmac
import os
import struct
import subprocess
import sys
import tempfile
import time

import schemathesis
from schemathesis import checks

url, link, cases = sys.argv[1:]
schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json")
schema.config.base_url = url
reached = set()
# How long either of the random runs may take, on a slow machine.
PATIENCE_S = 280
PASSWORD = "a password that is long"


def code(seed):
    """What an app for one-time passwords shows (RFC 6238)."""
    key = base64.b32decode(seed + "=" * (-len(seed) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


class Person:
    """Somebody who has logged in."""

    def __init__(self, **how):
        self.headers = {}
        session = self.does("session_create", {**how, "bearer": True})["bearer"]
        self.headers = {"authorization": f"Bearer {session}"}

    def does(self, name, body=None, /, **parts):
        """Does an operation; its answer is checked against the document, and must be 2xx."""
        operation = schema.find_operation_by_id(name)
        headers = dict(self.headers)
        if "if-match" in {it.name.lower() for it in operation.headers}:
            headers["if-match"] = "*"
        parts = {part: str(value) for part, value in parts.items()}
        sent = {"headers": headers, "path_parameters": parts}
        if body is not None:
            sent |= {"body": body, "media_type": "application/json"}
        answer = operation.Case(**sent).call_and_validate(excluded_checks=[checks.ignored_auth])
        assert 200 <= answer.status_code < 300, f"{name} {parts}: {answer.status_code} {answer.text}"
        reached.add(name)
        return answer.json() if answer.content else None


def parts_of_a_draft(admin):
    kinds = {
        "listener": ({}, {"bind": "127.0.0.1:0"}),
        "upstream": ({}, {"targets": ["127.0.0.1:9"]}),
        "certificate": ({}, {"cert": "${secret:key}", "key": "${secret:key}"}),
        "plan": ({}, {"limit": "9/s"}),
        "policy": ({}, {"use": {"headers": {"response": {"set": {"x-word": "one"}}}}}),
        "api": ({}, {"path": "/shop", "upstream": "upstream", "public": "a test"}),
        "route": ({"api": "api"}, {"path": "/orders"}),
        "api_policy": ({"api": "api"}, {"headers": {"response": {"set": {"x-word": "two"}}}}),
        "route_policy": ({"api": "api", "route": "route"}, {"headers": {"response": {"set": {"x-word": "six"}}}}),
    }
    for kind, (owners, config) in kinds.items():
        place = {"workspace": "team", **owners}
        last = kind.removeprefix("api_").removeprefix("route_")
        for name in ["spare", last]:
            admin.does(f"{kind}_create", {"name": name, "config": config}, **place)
        admin.does(f"{kind}_list", **place)
        one = place | {last: last}
        admin.does(f"{kind}_get", **one)
        admin.does(f"{kind}_update", {"config": config}, **one)
        admin.does(f"{kind}_delete", **place | {last: "spare"})
    # Only the platform has listeners of its own, and no certificate can be read from a secret that is none.
    admin.does("listener_delete", workspace="team", listener="listener")
    admin.does("certificate_delete", workspace="team", certificate="certificate")
    admin.does("policy_delete", workspace="team", policy="policy")


def publishing(admin):
    team = {"workspace": "team"}
    for name in ["key", "spare"]:
        admin.does("secret_create", {"name": name, "value": "a value"}, **team)
    admin.does("secret_list", **team)
    admin.does("secret_get", **team, secret="key")
    admin.does("secret_update", {"value": "another"}, **team, secret="key")
    admin.does("secret_delete", **team, secret="spare")
    parts_of_a_draft(admin)
    told = admin.does("draft_check", **team)
    assert told["ok"], told
    admin.does("revision_create", {"note": "the first"}, **team)
    admin.does("revision_list", **team)
    admin.does("revision_get", **team, revision=1)
    admin.does("revision_rollback", {"note": "again"}, **team, revision=1)
    admin.does("revision_diff", **team, revision=1, other="draft")
    pets = {"openapi": "3.1.0", "info": {"title": "Pets"}, "paths": {"/pets/{id}": {"get": {"operationId": "getPet"}}}}
    admin.does("api_import", {"document": pets, "name": "pets", "path": "/pets"}, **team)
    admin.does("api_delete", **team, api="pets")
    admin.does("upstream_delete", **team, upstream="pets")
    config = admin.does("config_get", **team)
    admin.does("config_apply", {"config": config, "publish": True}, **team)
    document = {"openapi": "3.1.0", "info": {"title": "Imported", "version": "1"}, "paths": {"/imported": {"get": {}}}}
    admin.does("api_import", {"document": document, "upstream": "upstream"}, **team)


def callers(admin):
    team = {"workspace": "team"}
    for name in ["alice", "spare"]:
        admin.does("consumer_create", {"name": name}, **team)
    admin.does("consumer_list", **team)
    admin.does("consumer_update", {"name": "spare", "title": "Spare"}, **team, consumer="spare")
    admin.does("consumer_get", **team, consumer="spare")
    admin.does("consumer_delete", **team, consumer="spare")
    alice = team | {"consumer": "alice"}
    for name in ["phone", "spare"]:
        admin.does("application_create", {"name": name}, **alice)
    admin.does("application_list", **alice)
    admin.does("workspace_application_list", **team)
    admin.does("application_update", {"name": "spare", "title": "Spare"}, **alice, application="spare")
    admin.does("application_get", **alice, application="spare")
    admin.does("application_delete", **alice, application="spare")
    key = {"proof": {"api_key": {}}}
    made = admin.does("credential_create", key, **alice)["credential"]["id"]
    admin.does("credential_list", **alice)
    admin.does("credential_get", **team, credential=made)
    admin.does("credential_update", {"name": "a key"}, **team, credential=made)
    admin.does("credential_rotate", {"keep_s": 60}, **team, credential=made)
    admin.does("credential_delete", **team, credential=made)
    password = {"proof": {"password": {"username": "alice"}}}
    phone = alice | {"application": "phone"}
    made = admin.does("application_credential_create", password, **phone)["credential"]["id"]
    admin.does("application_credential_list", **phone)
    admin.does("credential_password_set", {"password": PASSWORD}, **team, credential=made)


def people(admin):
    admin.does("role_create", {"name": "reader", "may": ["api:read"]})
    admin.does("role_create", {"name": "spare", "may": ["api:read"]})
    admin.does("role_list")
    admin.does("role_get", role="reader")
    admin.does("role_update", {"may": ["api:read", "route:read"]}, role="reader")
    admin.does("role_delete", role="spare")
    for name in ["bob", "spare"]:
        admin.does("user_create", {"name": name, "password": PASSWORD})
    admin.does("user_list")
    admin.does("user_get", user="spare")
    admin.does("user_update", {"name": "spare", "email": "spare@example.com"}, user="spare")
    admin.does("user_delete", user="spare")
    bob = {"user": "bob", "role": "reader"}
    admin.does("user_role_add", **bob)
    admin.does("workspace_user_role_add", workspace="team", **bob)
    admin.does("user_roles", user="bob")
    admin.does("user_role_remove", **bob)
    admin.does("workspace_user_role_remove", workspace="team", **bob)
    admin.does("user_link_create", user="bob")
    one_of_them = Person(name="bob", password=PASSWORD)
    seed = one_of_them.does("second_factor_begin")["secret"]
    codes = one_of_them.does("second_factor_confirm", {"code": code(seed)})["codes"]
    one_of_them.does("second_factor_delete", {"code": codes[0]})
    seed = one_of_them.does("second_factor_begin")["secret"]
    one_of_them.does("second_factor_confirm", {"code": code(seed)})
    admin.does("user_second_factor_delete", user="bob")
    one_of_them.does("password_set", {"old": PASSWORD, "new": f"{PASSWORD}, and new"})


def reads(admin):
    """Reads whatever else there is to be read of what is there by now."""
    there = {"workspace": "team", "api": "api", "route": "route", "consumer": "alice", "application": "phone", "user": "bob"}
    there |= {"revision": 1, "other": "draft"}
    for operation in schema.get_all_operations():
        operation = operation.ok()
        name = operation.definition.raw["operationId"]
        parts = [it.name for it in operation.path_parameters]
        if operation.method == "get" and name not in reached and all(part in there for part in parts):
            admin.does(name, **{part: there[part] for part in parts})


def everything():
    """Does every operation once."""
    admin = Person(link=link)
    admin.does("session_get")
    admin.does("session_list")
    for name in ["team", "spare"]:
        admin.does("workspace_create", {"name": name, "title": ""})
    admin.does("workspace_list")
    admin.does("workspace_get", workspace="team")
    admin.does("workspace_update", {"name": "spare", "title": "Spare"}, workspace="spare")
    admin.does("workspace_delete", workspace="spare")
    grants = admin.does("grants_get", name="team")
    admin.does("grants_update", {**grants, "hosts": ["*"], "inward": True}, name="team")
    publishing(admin)
    callers(admin)
    people(admin)
    admin.does("setting_list")
    admin.does("setting_update", {"value": 24}, setting="session_hours")
    admin.does("setting_get", setting="session_hours")
    admin.does("setting_delete", setting="session_hours")
    reads(admin)
    admin.does("secret_rewrap")
    admin.does("token_create", {"name": "ci", "scopes": ["api:read"]})
    admin.does("token_delete", token=admin.does("token_list")["items"][0]["id"])
    # Whoever tries things at random logs out, too: another session does, which is ended here.
    admin.does("user_create", {"name": "carol", "password": PASSWORD})
    carol = Person(name="carol", password=PASSWORD)
    carol.does("session_delete")
    return admin


# Each has the whole of a config, or much of it, in its schema: there is no end to trying all of it one by one.
LARGE = "^((listener|upstream|plan|policy|api|route|api_policy|route_policy)_(create|update)|api_import|(application_)?credential_create|config_apply)$"
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
]


def tries(admin, *arguments):
    """Tries what the document allows, and what it does not; the same each time. Whether all was answered as the document says."""
    here = os.path.dirname(os.path.abspath(__file__))
    command = [os.path.join(os.path.dirname(sys.executable), "st"), "run", f"{url}/v1/openapi.json", *arguments]
    command += ["--no-color", "--generation-deterministic", "--no-shrink", "--continue-on-failure"]
    command += ["--suppress-health-check", "all", "--warnings", "off", "--checks", ",".join(CHECKS)]
    more = {"SCHEMATHESIS_HOOKS": os.path.join(here, "admin_api_hooks.py"), "ADMIN_API": url}
    more["ADMIN"] = admin.headers["authorization"]
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(command, cwd=folder, env=os.environ | more, check=False, timeout=PATIENCE_S)
    return ended.returncode == 0


session = everything()
known = {operation.ok().definition.raw["operationId"] for operation in schema.get_all_operations()}
assert known == reached, f"these never reached 2xx: {sorted(known - reached)}"
is_well = tries(session, "--phases", "coverage", "--exclude-operation-id-regex", LARGE)
is_well &= tries(session, "--phases", "fuzzing", "--max-examples", cases)
sys.exit(0 if is_well else 1)
