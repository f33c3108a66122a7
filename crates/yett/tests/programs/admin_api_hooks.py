"""What admin_api.py has Schemathesis do besides: it asks for what is there, not only for what is not, and by random requests nobody
loses the session that they are sent with."""

import itertools
import os
import re

import requests
import schemathesis

URL = os.environ["ADMIN_API"]
ADMIN = os.environ["ADMIN"]
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
KEY = re.compile(r"[!-~]{1,255}")
NUMBERS = itertools.count()
THERE = {
    "workspace": "team", "name": "team", "api": "api", "route": "route", "upstream": "upstream", "plan": "plan", "policy": "policy",
    "secret": "key", "consumer": "alice", "application": "phone", "user": "bob", "role": "reader", "setting": "session_hours",
}
# They end logins.
OWN = {"session_delete", "password_set", "second_factor_begin", "second_factor_confirm", "second_factor_delete"}


@schemathesis.hook
def before_call(context, case, kwargs):
    for part, value in list((case.path_parameters or {}).items()):
        # What is no name at all stays as it is.
        if part in THERE and isinstance(value, str) and NAME.fullmatch(value):
            case.path_parameters[part] = THERE[part]
    if isinstance(case.body, dict) and NAME.fullmatch(str(case.body.get("name", ""))):
        # Names are free where something is made, and stay what they are where it is changed.
        parts = list((case.path_parameters or {}).values())
        case.body["name"] = parts[-1] if parts and case.method == "PUT" else f"made-{next(NUMBERS)}"
    headers = {**(case.headers or {}), "authorization": ADMIN}
    if "If-Match" in headers:
        headers["If-Match"] = "*"
    if KEY.fullmatch(str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = f"key-{next(NUMBERS)}"
    if case.operation.definition.raw.get("operationId") in OWN:
        # A link, since passwords are throttled where others send wrong ones.
        link = requests.post(f"{URL}/v1/users/carol/links", headers={"authorization": ADMIN}, timeout=60).json()["link"]
        session = requests.post(f"{URL}/v1/sessions", json={"link": link, "bearer": True}, timeout=60).json()["bearer"]
        headers["authorization"] = f"Bearer {session}"
    case.headers = headers
