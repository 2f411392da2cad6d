"""A stand-in for AWS, for the rehearsal of deployments: moto with a CloudFormation of our own. Its argument is its port. It does not run
functions: it answers with the content of their package."""

import gc
import io
import json
import sys
import zipfile

import cloudformation
from moto import backends
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import LambdaBackend
from moto.awslambda.responses import LambdaResponse
from moto.ec2.models.vpcs import AWS_ENDPOINT_SERVICES
from moto.rds.models import RDSBackend
from moto.server import main

# The program of a fake package is an ELF header of this many bytes, followed by JSON.
HEADER = 64


def content(backend, name, version):
    """The content of a version's package: an "answer" or an "error", and "stuck" if no alias can be pointed to this version."""
    with zipfile.ZipFile(io.BytesIO(backend.get_function(name, version).code_bytes)) as package:
        return json.loads(package.read("bootstrap")[HEADER:])


def invoke(self, function_name, qualifier, body, headers, response_headers):
    if self.get_function(function_name).reserved_concurrency == 0:
        raise LambdaClientError("TooManyRequestsException", f"{function_name} has a reserved concurrency of 0")
    # A deployment must invoke the version that it is about to make live, and must not create an account or send a mail.
    if qualifier in (None, "$LATEST"):
        raise LambdaClientError("InvalidParameterValueException", f"the invocation of {function_name} names no version")
    if function_name.endswith(("-signup", "-forgot-password")) and json.loads(body or "{}").get("body") not in (None, "{}"):
        raise LambdaClientError("InvalidParameterValueException", f"{function_name} was invoked with a real request")
    program = content(self, function_name, qualifier)
    if "error" in program:
        response_headers["x-amz-function-error"] = "Unhandled"
        return json.dumps({"errorMessage": program["error"]})
    return json.dumps(program["answer"])


def invoke_version(self, invoke=LambdaResponse.invoke):
    # moto does not recognise the parameter in the spelling of AWS.
    self.querystring["qualifier"] = self.querystring["Qualifier"]
    return invoke(self)


def update_alias(self, name, function_name, function_version, description, routing_config, update=LambdaBackend.update_alias):
    if "stuck" in content(self, function_name, function_version):
        raise InvalidParameterValueException(f"{function_name} is stuck")
    return update(self, name, function_name, function_version, description, routing_config)


def restore(self, *args, restore=RDSBackend.restore_db_instance_to_point_in_time, **kwargs):
    database = restore(self, *args, **kwargs)
    # RDS does not protect a restored database by default. moto copies this setting from the original database.
    database.deletion_protection = False
    return database


LambdaBackend.invoke = invoke
LambdaResponse.invoke = invoke_version
LambdaBackend.update_alias = update_alias
RDSBackend.restore_db_instance_to_point_in_time = restore
# moto does not know the endpoint of SES.
AWS_ENDPOINT_SERVICES.append("email")
# moto would list its folder for each request.
MODULES = list(backends.list_of_moto_modules())
backends.list_of_moto_modules = lambda: MODULES
cloudformation.replace_motos_own()
# The garbage collector would take a fifth of the time. It need not look at what is imported, and need not run often: the server lives for minutes.
gc.freeze()
gc.set_threshold(50_000)
main(["--host", "127.0.0.1", "--port", sys.argv[1]])
