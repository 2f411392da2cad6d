"""Protects a Flask route with Flask-JWT-Extended and the shared secret, calls it with a token, and prints the answer."""

import json
import sys

from flask import Flask, jsonify
from flask_jwt_extended import JWTManager, get_jwt, get_jwt_identity, jwt_required

secret, issuer, audience, token = sys.argv[1:]
app = Flask(__name__)
app.config.update(
    JWT_SECRET_KEY=secret,
    JWT_DECODE_ISSUER=issuer,
    JWT_DECODE_AUDIENCE=audience,
)
JWTManager(app)


@app.get("/")
@jwt_required()
def whose():
    return jsonify(sub=get_jwt_identity(), sid=get_jwt()["sid"])


answer = app.test_client().get("/", headers={"Authorization": f"Bearer {token}"})
print(json.dumps({"status": answer.status_code, "body": answer.get_json()}))
