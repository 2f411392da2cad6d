"""Asks AWS. Each line it reads is a question, [service, operation or waiter, arguments]; each line it prints is the answer to one:
{"answer": …}, null for what is not there, or {"refused": why}. Whose account it is, is said by what every AWS tool goes by (AWS_PROFILE, …)."""

import base64
import hashlib
import json
import os
import sys
import zipfile
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# An invocation is waited for as long as any function may take: giving up on one would make another.
SESSION = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
CONFIG = Config(read_timeout=900, retries={"mode": "standard", "total_max_attempts": 8})


def package(path):
    """A zip as Lambda knows it, by its hash, and the machine that its program is for, from the ELF header."""
    with zipfile.ZipFile(path) as file:
        header = file.read("bootstrap")[:20]
    machine = {b"\xb7\x00": "arm64", b"\x3e\x00": "x86_64"}.get(header[18:20], "something else")
    digest = hashlib.sha256(Path(path).read_bytes()).digest()
    return {"machine": machine if header[:4] == b"\x7fELF" else "no machine", "sha256": base64.b64encode(digest).decode()}


def with_content(arguments):
    """A package is named by its path."""
    return {name: Path(value).read_bytes() if name == "ZipFile" else value for name, value in arguments.items()}


def ask(service, operation, arguments):
    if service == "package":
        return package(operation)
    client = SESSION.client(service, config=CONFIG)
    call = getattr(client, operation, None) or client.get_waiter(operation).wait
    try:
        return call(**arguments) or {}
    except ClientError as problem:
        error = problem.response["Error"]
        if error["Code"] == "ResourceNotFoundException" or error["Message"].endswith("does not exist"):
            return None
        raise


for line in sys.stdin:
    try:
        reply = {"answer": ask(*json.loads(line, object_hook=with_content))}
        # What it answers beside JSON: times, and the payload of an invocation.
        reply = json.dumps(reply, default=lambda value: value.read().decode() if hasattr(value, "read") else str(value))
    except (BotoCoreError, ClientError, OSError, KeyError, zipfile.BadZipFile) as problem:
        reply = json.dumps({"refused": str(problem)})
    print(reply, flush=True)
