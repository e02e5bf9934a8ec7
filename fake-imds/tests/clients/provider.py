"""What boto3 finds at the endpoint: its own session and providers, unmodified. One JSON object on standard output."""

import json
import sys

import boto3
from botocore.exceptions import CredentialRetrievalError, MetadataRetrievalError
from botocore.utils import IMDSRegionProvider

session = boto3.Session()
found = {}
if "region" in sys.argv:
    # boto3 asks the endpoint for a region through this provider, and nowhere by itself.
    region = IMDSRegionProvider(session._session).provide()
    client = boto3.Session(region_name=region).client("sts")
    found["region"] = client.meta.region_name
else:
    try:
        credentials = session.get_credentials()
    except (CredentialRetrievalError, MetadataRetrievalError) as error:
        # So it ends where it was told not to fall back, and at the endpoint for containers.
        print(error, file=sys.stderr)
        credentials = None
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        found = {"key": frozen.access_key, "secret": frozen.secret_key, "token": frozen.token, "method": credentials.method}
json.dump(found, sys.stdout)
