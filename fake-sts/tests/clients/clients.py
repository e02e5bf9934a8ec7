"""boto3 and the AWS CLI against a running fake: CASE ENDPOINT CONTROL. A case that ends without an exception has passed."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

CASE, ENDPOINT, CONTROL = sys.argv[1:4]
KEYS = {
    "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
DEPLOY = "arn:aws:iam::123456789012:role/deploy"


def control(method, path, body=None):
    request = urllib.request.Request(CONTROL + path, method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def fault(action, status, code, times=1):
    error = {"status": status, "code": code, "message": "planted"}
    control("POST", "/faults", {"match": {"action": action}, "times": times, "effect": {"error": error}})


def asked(action):
    entries = control("GET", "/ledger?since=0")["entries"]
    return sum(1 for entry in entries if entry["facts"].get("action") == action)


def client(service="sts", keys=KEYS, mode="standard", region="eu-central-1"):
    config = Config(retries={"mode": mode, "total_max_attempts": 3})
    return boto3.client(service, region_name=region, endpoint_url=ENDPOINT, config=config, **keys)


def of(credentials):
    return {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }


def token(**claims):
    wanted = {"job": {"project": "group/app"}, "claims": claims}
    return control("POST", "/tokens", wanted)["token"]


PEOPLE = "arn:aws:iam::123456789012:role/people"


def assertion(**claim):
    return control("POST", "/saml-responses", {"roles": [PEOPLE], "subject": "alice", **claim})


def refused(call, code, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        told = error.response["Error"]["Code"]
        assert told == code, f"{told}: {error}, not {code}"
        return error
    raise AssertionError(f"{code} was expected")


def boto3_operations():
    sts = client()
    assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::123456789012:user/alice"
    answer = sts.assume_role(
        RoleArn=DEPLOY,
        RoleSessionName="job-1",
        DurationSeconds=900,
        Tags=[{"Key": "team", "Value": "blue"}],
        TransitiveTagKeys=["team"],
        SourceIdentity="alice",
    )
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::123456789012:assumed-role/deploy/job-1"
    assert answer["SourceIdentity"] == "alice" and answer["PackedPolicySize"] > 0
    session = client(keys=of(answer["Credentials"]))
    assert session.get_caller_identity()["UserId"].endswith(":job-1")
    answer = sts.get_session_token(DurationSeconds=900)
    assert client(keys=of(answer["Credentials"])).get_caller_identity()["Arn"].endswith(":user/alice")
    answer = sts.get_federation_token(Name="ci")
    assert answer["FederatedUser"]["FederatedUserId"] == "123456789012:ci"
    assert sts.get_access_key_info(AccessKeyId=answer["Credentials"]["AccessKeyId"])["Account"] == "123456789012"
    encoded = control("POST", "/authorization-messages", {"text": '{"allowed":false}'})["encoded"]
    assert sts.decode_authorization_message(EncodedMessage=encoded)["DecodedMessage"] == '{"allowed":false}'
    answer = sts.assume_root(
        TargetPrincipal="222222222222",
        TaskPolicyArn={"arn": "arn:aws:iam::aws:policy/root-task/S3UnlockBucketPolicy"},
    )
    assert client(keys=of(answer["Credentials"])).get_caller_identity()["Arn"] == "arn:aws:iam::222222222222:root"
    for algorithm in ("RS256", "ES384"):
        answer = sts.get_web_identity_token(Audience=["https://api.example.com"], SigningAlgorithm=algorithm)
        assert answer["WebIdentityToken"].count(".") == 2
    answer = sts.assume_role_with_web_identity(RoleArn=DEPLOY, RoleSessionName="job-2", WebIdentityToken=token())
    assert answer["SubjectFromWebIdentityToken"] == "project_path:group/app:ref_type:branch:ref:main"
    assert answer["Provider"] == answer["Audience"] == "https://gitlab.example.com"
    made = assertion(tags={"team": "blue"}, session_duration=1800)
    answer = sts.assume_role_with_saml(RoleArn=PEOPLE, PrincipalArn=made["provider"], SAMLAssertion=made["assertion"])
    assert (answer["Subject"], answer["SubjectType"], answer["Issuer"]) == ("alice", "persistent", "https://idp.example.com/saml")
    assert answer["Audience"] == "https://signin.aws.amazon.com/saml" and len(answer["NameQualifier"]) == 28
    assert client(keys=of(answer["Credentials"])).get_caller_identity()["Arn"].endswith("assumed-role/people/alice")


def boto3_errors():
    sts = client()
    assume = sts.assume_role
    error = refused(assume, "AccessDenied", RoleArn=DEPLOY.replace("deploy", "closed"), RoleSessionName="job-1")
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    refused(assume, "ValidationError", RoleArn=DEPLOY, RoleSessionName="job-1", DurationSeconds=3601)
    refused(assume, "MalformedPolicyDocument", RoleArn=DEPLOY, RoleSessionName="job-1", Policy="{}")
    wrong = client(keys={**KEYS, "aws_secret_access_key": "x"})
    refused(wrong.get_caller_identity, "SignatureDoesNotMatch")
    unknown = client(keys={**KEYS, "aws_access_key_id": "AKIAUNKNOWNUNKNOWN77"})
    refused(unknown.get_caller_identity, "InvalidClientTokenId")
    keys = of(assume(RoleArn=DEPLOY, RoleSessionName="job-1", DurationSeconds=900)["Credentials"])
    web = sts.assume_role_with_web_identity
    refused(web, "InvalidIdentityToken", RoleArn=DEPLOY, RoleSessionName="job-1", WebIdentityToken="a.b.c")
    other = token(sub="project_path:group/other:ref_type:branch:ref:main")
    refused(web, "AccessDenied", RoleArn=DEPLOY, RoleSessionName="job-1", WebIdentityToken=other)
    expired = token(exp=1)
    refused(web, "ExpiredTokenException", RoleArn=DEPLOY, RoleSessionName="job-1", WebIdentityToken=expired)
    saml = sts.assume_role_with_saml
    made = assertion(sign="nothing")
    refused(saml, "InvalidIdentityToken", RoleArn=PEOPLE, PrincipalArn=made["provider"], SAMLAssertion=made["assertion"])
    made = assertion(lifetime_seconds=0)
    refused(saml, "ExpiredTokenException", RoleArn=PEOPLE, PrincipalArn=made["provider"], SAMLAssertion=made["assertion"])
    denied = DEPLOY.replace("deploy", "closed")
    made = assertion(roles=[denied])
    refused(saml, "AccessDenied", RoleArn=denied, PrincipalArn=made["provider"], SAMLAssertion=made["assertion"])
    tags = [{"Key": f"k{n}", "Value": os.urandom(125).hex()} for n in range(40)]
    refused(assume, "PackedPolicyTooLarge", RoleArn=DEPLOY, RoleSessionName="job-1", Tags=tags)
    refused(sts.decode_authorization_message, "InvalidAuthorizationMessageException", EncodedMessage="x")
    refused(client(keys=keys).get_session_token, "AccessDenied")
    try:
        web(RoleArn=DEPLOY, RoleSessionName="job-1", WebIdentityToken="a.b.c")
    except sts.exceptions.InvalidIdentityTokenException:
        pass
    # The clock of the fake moves past the session and past what signatures may differ by.
    control("POST", "/clock", {"advance_seconds": 600})
    control("POST", "/clock", {"advance_seconds": 400})
    refused(client(keys=keys).get_caller_identity, "SignatureDoesNotMatch")


def boto3_retries():
    sts = client()
    for status, code in ((400, "Throttling"), (503, "ServiceUnavailable"), (500, "InternalFailure"), (400, "IDPCommunicationError")):
        before = asked("AssumeRoleWithWebIdentity")
        fault("AssumeRoleWithWebIdentity", status, code)
        sts.assume_role_with_web_identity(RoleArn=DEPLOY, RoleSessionName="job-1", WebIdentityToken=token())
        assert asked("AssumeRoleWithWebIdentity") == before + 2, code
    # Each class of botocore's standard mode that STS can be in.
    for status, code, attempts in (
        (400, "RequestLimitExceeded", 2),
        (400, "ThrottlingException", 2),
        (429, "TooManyRequestsException", 2),
        (400, "RequestTimeout", 2),
        (502, "BadGateway", 2),
        (504, "GatewayTimeout", 2),
        (403, "AccessDenied", 1),
        (403, "ExpiredToken", 1),
        (403, "InvalidClientTokenId", 1),
        (403, "SignatureDoesNotMatch", 1),
        (400, "ValidationError", 1),
        (403, "RegionDisabledException", 1),
        (501, "NotImplemented", 1),
    ):
        before = asked("GetCallerIdentity")
        fault("GetCallerIdentity", status, code)
        if attempts == 1:
            refused(sts.get_caller_identity, code)
        else:
            sts.get_caller_identity()
        assert asked("GetCallerIdentity") == before + attempts, (code, asked("GetCallerIdentity") - before)
    before = asked("GetCallerIdentity")
    fault("GetCallerIdentity", 400, "Throttling", times=3)
    refused(sts.get_caller_identity, "Throttling")
    assert asked("GetCallerIdentity") == before + 3
    # An answer that never comes.
    control("POST", "/faults", {"match": {"action": "GetCallerIdentity"}, "times": 1, "effect": {"reset": True}})
    before = asked("GetCallerIdentity")
    assert sts.get_caller_identity()["Account"] == "123456789012"
    assert asked("GetCallerIdentity") == before + 2
    # The mode that is the default of older versions retries the same.
    legacy = client(mode="legacy")
    for status, code in ((400, "Throttling"), (503, "ServiceUnavailable")):
        before = asked("GetCallerIdentity")
        fault("GetCallerIdentity", status, code)
        legacy.get_caller_identity()
        assert asked("GetCallerIdentity") == before + 2, code


def boto3_skew():
    """A clock that is off by an hour: boto3 says so and does not try again."""
    sts = client()
    control("POST", "/clock", {"advance_seconds": 3600})
    before = asked("GetCallerIdentity")
    error = refused(sts.get_caller_identity, "SignatureDoesNotMatch")
    assert error.response["Error"]["Message"].startswith("Signature expired: "), error
    assert asked("GetCallerIdentity") == before + 1


def boto3_iam():
    iam = client("iam", region="us-east-1")
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:user/alice"}, "Action": "sts:AssumeRole"}],
    }
    role = iam.create_role(RoleName="made", AssumeRolePolicyDocument=json.dumps(trust), MaxSessionDuration=7200)["Role"]
    assert role["AssumeRolePolicyDocument"] == trust and role["MaxSessionDuration"] == 7200
    assert iam.get_role(RoleName="made")["Role"]["RoleId"].startswith("AROA")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="made", PolicyName="s3", PolicyDocument=json.dumps(document))
    assert iam.get_role_policy(RoleName="made", PolicyName="s3")["PolicyDocument"] == document
    assert iam.list_role_policies(RoleName="made")["PolicyNames"] == ["s3"]
    policy = iam.create_policy(PolicyName="p", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="made", PolicyArn=policy)
    assert iam.list_attached_role_policies(RoleName="made")["AttachedPolicies"] == [{"PolicyName": "p", "PolicyArn": policy}]
    answer = client().assume_role(RoleArn=role["Arn"], RoleSessionName="s1")
    assert "made/s1" in answer["AssumedRoleUser"]["Arn"]
    iam.create_user(UserName="carol")
    key = iam.create_access_key(UserName="carol")["AccessKey"]
    carol = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    assert client(keys=carol).get_caller_identity()["Arn"].endswith(":user/carol")
    refused(client("iam", keys=carol, region="us-east-1").list_roles, "AccessDenied")
    iam.create_instance_profile(InstanceProfileName="made")
    iam.add_role_to_instance_profile(InstanceProfileName="made", RoleName="made")
    assert iam.get_instance_profile(InstanceProfileName="made")["InstanceProfile"]["Roles"][0]["RoleName"] == "made"
    arn = iam.create_open_id_connect_provider(Url="https://new.example.com", ClientIDList=["x"])["OpenIDConnectProviderArn"]
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"] == ["x"]
    metadata = assertion()["metadata"]
    arn = iam.create_saml_provider(Name="made", SAMLMetadataDocument=metadata)["SAMLProviderArn"]
    assert iam.get_saml_provider(SAMLProviderArn=arn)["SAMLMetadataDocument"] == metadata
    assert [one["Arn"].split("/")[-1] for one in iam.list_saml_providers()["SAMLProviderList"]] == ["corp", "made"]
    refused(iam.create_saml_provider, "EntityAlreadyExists", Name="made", SAMLMetadataDocument=metadata)
    refused(iam.create_saml_provider, "InvalidInput", Name="bad", SAMLMetadataDocument="<x/>" * 250)
    assert iam.update_saml_provider(SAMLProviderArn=arn, SAMLMetadataDocument=metadata)["SAMLProviderArn"] == arn
    iam.delete_saml_provider(SAMLProviderArn=arn)
    refused(iam.get_saml_provider, "NoSuchEntity", SAMLProviderArn=arn)
    results = iam.simulate_principal_policy(PolicySourceArn=role["Arn"], ActionNames=["s3:GetObject", "ec2:RunInstances"])
    assert [one["EvalDecision"] for one in results["EvaluationResults"]] == ["allowed", "implicitDeny"]
    refused(iam.get_role, "NoSuchEntity", RoleName="none")
    refused(iam.create_user, "EntityAlreadyExists", UserName="carol")
    try:
        iam.get_role(RoleName="none")
    except iam.exceptions.NoSuchEntityException:
        pass


def boto3_presigned():
    """As `aws eks get-token` and Vault make them: a signed URL with one more signed header."""
    sts = client()

    def add_header(params, context, **_):
        if "x-k8s-aws-id" in params:
            context["x-k8s-aws-id"] = params.pop("x-k8s-aws-id")

    def set_header(request, **_):
        if "x-k8s-aws-id" in request.context:
            request.headers["x-k8s-aws-id"] = request.context["x-k8s-aws-id"]

    sts.meta.events.register("provide-client-params.sts.GetCallerIdentity", add_header)
    sts.meta.events.register("before-sign.sts.GetCallerIdentity", set_header)
    url = sts.generate_presigned_url("get_caller_identity", Params={"x-k8s-aws-id": "cluster"}, ExpiresIn=60, HttpMethod="GET")

    def get(header):
        request = urllib.request.Request(url, headers={"x-k8s-aws-id": header})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    status, text = get("cluster")
    assert status == 200 and "user/alice" in text, text
    status, text = get("other")
    assert status == 403 and "SignatureDoesNotMatch" in text, text


def boto3_web_identity_provider():
    """The default chain of credentials, as a pod or a CI job with a token file has it."""
    with tempfile.NamedTemporaryFile("w", suffix=".jwt") as file:
        file.write(token())
        file.flush()
        os.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = file.name
        os.environ["AWS_ROLE_ARN"] = DEPLOY
        os.environ["AWS_ROLE_SESSION_NAME"] = "job-3"
        os.environ["AWS_ENDPOINT_URL_STS"] = ENDPOINT
        sts = boto3.client("sts", region_name="eu-central-1")
        assert sts.get_caller_identity()["Arn"].endswith("assumed-role/deploy/job-3")


def cli(*words, keys=KEYS, fails=None):
    environment = {
        **{name.upper(): value for name, value in keys.items()},
        "AWS_ENDPOINT_URL": ENDPOINT,
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_MAX_ATTEMPTS": "2",
        "HOME": os.environ["HOME"],
        "PATH": os.environ["PATH"],
    }
    program = os.path.join(os.path.dirname(sys.executable), "aws")
    ended = subprocess.run([sys.executable, program, *words], env=environment, capture_output=True, text=True)
    if fails:
        assert ended.returncode != 0 and fails in ended.stderr, f"{words}: {ended.stderr}"
        return None
    assert ended.returncode == 0, f"{words}: {ended.stderr}"
    return json.loads(ended.stdout) if ended.stdout.strip() else None


def cli_operations():
    assert cli("sts", "get-caller-identity")["UserId"].startswith("AIDA")
    answer = cli("sts", "assume-role", "--role-arn", DEPLOY, "--role-session-name", "job-1", "--tags", "Key=team,Value=blue")
    assert cli("sts", "get-caller-identity", keys=of(answer["Credentials"]))["Arn"].endswith("deploy/job-1")
    answer = cli("sts", "assume-role-with-web-identity", "--role-arn", DEPLOY, "--role-session-name", "j2", "--web-identity-token", token())
    assert answer["Audience"] == "https://gitlab.example.com"
    made = assertion()
    answer = cli("sts", "assume-role-with-saml", "--role-arn", PEOPLE, "--principal-arn", made["provider"], "--saml-assertion", made["assertion"])
    assert answer["Subject"] == "alice"
    assert "Credentials" in cli("sts", "get-session-token")
    assert cli("sts", "get-federation-token", "--name", "ci")["FederatedUser"]["Arn"].endswith("federated-user/ci")
    assert cli("sts", "get-access-key-info", "--access-key-id", "ASIAQNZGKIQY56JQ7WML")["Account"] == "029608264753"
    encoded = control("POST", "/authorization-messages", {"text": "{}"})["encoded"]
    assert cli("sts", "decode-authorization-message", "--encoded-message", encoded)["DecodedMessage"] == "{}"
    task = "arn=arn:aws:iam::aws:policy/root-task/S3UnlockBucketPolicy"
    assert "Credentials" in cli("sts", "assume-root", "--target-principal", "222222222222", "--task-policy-arn", task)
    answer = cli("sts", "get-web-identity-token", "--audience", "x", "--signing-algorithm", "ES384")
    assert answer["WebIdentityToken"]
    trust = json.dumps({"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
    role = cli("iam", "create-role", "--role-name", "made", "--assume-role-policy-document", trust)["Role"]
    assert role["Arn"] == "arn:aws:iam::123456789012:role/made"
    names = [one["RoleName"] for one in cli("iam", "list-roles")["Roles"]]
    assert names == ["closed", "deploy", "made", "people"]
    cli("iam", "delete-role", "--role-name", "made")


def cli_errors():
    closed = DEPLOY.replace("deploy", "closed")
    cli("sts", "assume-role", "--role-arn", closed, "--role-session-name", "job-1", fails="(AccessDenied)")
    cli("sts", "get-caller-identity", keys={**KEYS, "aws_secret_access_key": "x"}, fails="(SignatureDoesNotMatch)")
    cli("sts", "assume-role-with-web-identity", "--role-arn", DEPLOY, "--role-session-name", "j2", "--web-identity-token", "a.b.c", fails="(InvalidIdentityToken)")
    made = assertion(sign="nothing")
    cli("sts", "assume-role-with-saml", "--role-arn", PEOPLE, "--principal-arn", made["provider"], "--saml-assertion", made["assertion"], fails="(InvalidIdentityToken)")
    cli("iam", "get-role", "--role-name", "none", fails="(NoSuchEntity)")
    for status, code, attempts in (
        (503, "ServiceUnavailable", 2),
        (400, "Throttling", 2),
        # The first version of the CLI, in its legacy mode, takes this one for final unless the status is 503.
        (400, "RequestLimitExceeded", 1),
        (503, "RequestLimitExceeded", 2),
        (403, "ExpiredToken", 1),
    ):
        fault("GetCallerIdentity", status, code)
        before = asked("GetCallerIdentity")
        told = cli("sts", "get-caller-identity", fails=f"({code})" if attempts == 1 else None)
        assert attempts == 1 or told["Account"] == "123456789012"
        assert asked("GetCallerIdentity") == before + attempts, code
    before = asked("GetCallerIdentity")
    control("POST", "/faults", {"match": {"action": "GetCallerIdentity"}, "times": 1, "effect": {"reset": True}})
    assert cli("sts", "get-caller-identity")["Account"] == "123456789012"
    assert asked("GetCallerIdentity") == before + 2


globals()[CASE]()
