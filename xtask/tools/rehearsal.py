"""An AWS for the rehearsal of a deployment: moto's, on the port given, whose functions are not run: they answer what their package says."""

import io
import json
import sys
import zipfile

from moto.awslambda.exceptions import InvalidParameterValueException
from moto.awslambda.models import LambdaBackend
from moto.awslambda.responses import LambdaResponse
from moto.server import main


def words(backend, name, version):
    """What the package of a version has in words.json: its "answer", or an "error", or that it is "stuck" and takes no requests."""
    with zipfile.ZipFile(io.BytesIO(backend.get_function(name, version).code_bytes)) as package:
        return json.loads(package.read("words.json"))


def invoke(self, function_name, qualifier, body, headers, response_headers):
    said = words(self, function_name, qualifier)
    if "error" in said:
        response_headers["x-amz-function-error"] = "Unhandled"
        return json.dumps({"errorMessage": said["error"]})
    return json.dumps(said["answer"])


def invoke_version(self, invoke=LambdaResponse.invoke):
    # moto overlooks it as AWS spells it.
    self.querystring["qualifier"] = self.querystring["Qualifier"]
    return invoke(self)


def update_alias(self, name, function_name, function_version, description, routing_config, update=LambdaBackend.update_alias):
    if "stuck" in words(self, function_name, function_version):
        raise InvalidParameterValueException(f"{function_name} is stuck")
    return update(self, name, function_name, function_version, description, routing_config)


LambdaBackend.invoke = invoke
LambdaResponse.invoke = invoke_version
LambdaBackend.update_alias = update_alias
main(["--host", "127.0.0.1", "--port", sys.argv[1]])
