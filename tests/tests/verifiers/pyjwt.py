"""Verifies an access token with PyJWT and the issuer's key set, as a Python service does, and prints its claims."""

import json
import sys

import jwt

jwks_url, issuer, audience, token = sys.argv[1:]
key = jwt.PyJWKClient(jwks_url).get_signing_key_from_jwt(token)
claims = jwt.decode(
    token,
    key.key,
    algorithms=["RS256", "ES256", "EdDSA"],
    issuer=issuer,
    audience=audience,
    options={"require": ["iss", "aud", "sub", "iat", "nbf", "exp", "jti"]},
)
print(json.dumps(claims))
