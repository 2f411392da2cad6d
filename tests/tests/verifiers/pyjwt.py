"""Verifies an access token as a Python service would, with PyJWT, from the issuer's key set alone; prints its claims."""

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
