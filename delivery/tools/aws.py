"""Sends requests to AWS. Each input line is a request: [service, operation or waiter, arguments]. Each output line is its reply:
{"answer": …}, with null for something that does not exist, or {"refused": reason}. The environment selects the AWS account (AWS_PROFILE, …)."""

import functools
import json
import os
import sys
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SESSION = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
# The read timeout is the longest time that a function may take. After a shorter one, the SDK would invoke the function again.
CONFIG = Config(read_timeout=900, retries={"mode": "standard", "total_max_attempts": 8})


def with_content(arguments):
    """Replaces the path of a package by its content."""
    return {name: Path(value).read_bytes() if name == "ZipFile" else value for name, value in arguments.items()}


@functools.cache
def client_of(service):
    return SESSION.client(service, config=CONFIG)


def call(service, operation, arguments):
    client = client_of(service)
    method = getattr(client, operation, None) or client.get_waiter(operation).wait
    is_read = operation.startswith(("get_", "describe_"))
    try:
        return method(**arguments) or {}
    except ClientError as problem:
        error = problem.response["Error"]
        if is_read and (error["Code"] == "ResourceNotFoundException" or error["Message"].endswith("does not exist")):
            return None
        raise


for line in sys.stdin:
    try:
        reply = {"answer": call(*json.loads(line, object_hook=with_content))}
        # Answers contain values that are not JSON: times, and the payload of an invocation.
        reply = json.dumps(reply, default=lambda value: value.read().decode() if hasattr(value, "read") else str(value))
    except (BotoCoreError, ClientError, OSError) as problem:
        reply = json.dumps({"refused": str(problem)})
    print(reply, flush=True)
