"""Calls AWS. Reads one request per line, [service, operation or waiter, arguments], and prints one line for each:
{"answer": …}, with null if the resource does not exist, or {"refused": reason}. Uses the usual AWS credentials (AWS_PROFILE, …)."""

import json
import os
import sys
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# Waits for an invocation as long as a function may run. Otherwise the SDK would retry and invoke the function again.
SESSION = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
CONFIG = Config(read_timeout=900, retries={"mode": "standard", "total_max_attempts": 8})


def with_content(arguments):
    """Replaces the path of a package by its content."""
    return {name: Path(value).read_bytes() if name == "ZipFile" else value for name, value in arguments.items()}


def ask(service, operation, arguments):
    client = SESSION.client(service, config=CONFIG)
    call = getattr(client, operation, None) or client.get_waiter(operation).wait
    asks = operation.startswith(("get_", "describe_"))
    try:
        return call(**arguments) or {}
    except ClientError as problem:
        error = problem.response["Error"]
        if asks and (error["Code"] == "ResourceNotFoundException" or error["Message"].endswith("does not exist")):
            return None
        raise


for line in sys.stdin:
    try:
        reply = {"answer": ask(*json.loads(line, object_hook=with_content))}
        # Converts times, and the payload of an invocation, to text.
        reply = json.dumps(reply, default=lambda value: value.read().decode() if hasattr(value, "read") else str(value))
    except (BotoCoreError, ClientError, OSError) as problem:
        reply = json.dumps({"refused": str(problem)})
    print(reply, flush=True)
