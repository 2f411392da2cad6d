"""A stand-in for AWS, for the rehearsal of a deployment, on the given port: moto with our own CloudFormation. It does not run functions; a
function's answer is in its package."""

import io
import json
import sys
import zipfile

import cloudformation
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import LambdaBackend
from moto.awslambda.responses import LambdaResponse
from moto.rds.models import RDSBackend
from moto.server import main

# The program of a stand-in function is an ELF header of this many bytes, followed by JSON.
HEADER = 64


def words(backend, name, version):
    """The JSON in a version's program: an "answer", an "error", or "stuck" if its alias cannot be moved."""
    with zipfile.ZipFile(io.BytesIO(backend.get_function(name, version).code_bytes)) as package:
        return json.loads(package.read("bootstrap")[HEADER:])


def invoke(self, function_name, qualifier, body, headers, response_headers):
    if self.get_function(function_name).reserved_concurrency == 0:
        raise LambdaClientError("TooManyRequestsException", f"{function_name} is kept from running")
    # A deployment must invoke the new version, and must not create an account or send a mail.
    if qualifier in (None, "$LATEST"):
        raise LambdaClientError("InvalidParameterValueException", f"which version of {function_name}?")
    if function_name.endswith(("-signup", "-forgot-password")) and json.loads(body or "{}").get("body") not in (None, "{}"):
        raise LambdaClientError("InvalidParameterValueException", f"{function_name} was asked for real")
    said = words(self, function_name, qualifier)
    if "error" in said:
        response_headers["x-amz-function-error"] = "Unhandled"
        return json.dumps({"errorMessage": said["error"]})
    return json.dumps(said["answer"])


def invoke_version(self, invoke=LambdaResponse.invoke):
    # moto does not recognise AWS's spelling of the parameter.
    self.querystring["qualifier"] = self.querystring["Qualifier"]
    return invoke(self)


def update_alias(self, name, function_name, function_version, description, routing_config, update=LambdaBackend.update_alias):
    if "stuck" in words(self, function_name, function_version):
        raise InvalidParameterValueException(f"{function_name} is stuck")
    return update(self, name, function_name, function_version, description, routing_config)


def restore(self, *args, restore=RDSBackend.restore_db_instance_to_point_in_time, **kwargs):
    database = restore(self, *args, **kwargs)
    # moto would copy the deletion protection of the source, although the request says otherwise.
    database.deletion_protection = False
    return database


LambdaBackend.invoke = invoke
LambdaResponse.invoke = invoke_version
LambdaBackend.update_alias = update_alias
RDSBackend.restore_db_instance_to_point_in_time = restore
cloudformation.take_over()
main(["--host", "127.0.0.1", "--port", sys.argv[1]])
