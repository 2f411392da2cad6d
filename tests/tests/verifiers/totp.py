"""Prints the current code of an authenticator that has read this otpauth URL."""

import sys

import pyotp

print(pyotp.parse_uri(sys.argv[1]).now())
