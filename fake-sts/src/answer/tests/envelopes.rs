use super::{Bench, alice};
use crate::request::Request;

fn get(target: &str) -> Request {
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query)));
    Request {
        method: "GET".to_owned(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        ..Request::default()
    }
}

#[test]
fn get_caller_identity_names_a_user() {
    let mut bench = Bench::new();
    let request = bench.signed(&alice(), "Action=GetCallerIdentity");
    insta::assert_snapshot!(bench.text(&request), @r#"
    200
    <GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <GetCallerIdentityResult>
        <Arn>arn:aws:iam::123456789012:user/alice</Arn>
        <UserId>AIDAYNC2GX4EDTODB77CV</UserId>
        <Account>123456789012</Account>
      </GetCallerIdentityResult>
      <ResponseMetadata>
        <RequestId>R</RequestId>
      </ResponseMetadata>
    </GetCallerIdentityResponse>
    "#);
}

#[test]
fn get_caller_identity_names_a_session() {
    let mut bench = Bench::new();
    let host = bench.host();
    let request = bench.signed(&host, "Action=GetCallerIdentity");
    insta::assert_snapshot!(bench.text(&request), @r#"
    200
    <GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <GetCallerIdentityResult>
        <Arn>arn:aws:sts::123456789012:assumed-role/lab-host/job-1</Arn>
        <UserId>AROATNOF7RQHOARN6Q5L6:job-1</UserId>
        <Account>123456789012</Account>
      </GetCallerIdentityResult>
      <ResponseMetadata>
        <RequestId>R</RequestId>
      </ResponseMetadata>
    </GetCallerIdentityResponse>
    "#);
}

#[test]
fn assume_role_answers_in_the_order_of_the_real_service() {
    let mut bench = Bench::new();
    let form = "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/team/deploy&RoleSessionName=job-1";
    let request = bench.signed(&alice(), form);
    insta::assert_snapshot!(bench.text(&request), @r#"
    200
    <AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <AssumeRoleResult>
        <AssumedRoleUser>
          <AssumedRoleId>AROATKC7F6CYFZV3JJ2B3:job-1</AssumedRoleId>
          <Arn>arn:aws:sts::123456789012:assumed-role/deploy/job-1</Arn>
        </AssumedRoleUser>
        <Credentials>
          <AccessKeyId>ASIARZPUZDIKAD6KDGMX</AccessKeyId>
          <SecretAccessKey>74ZBSWLOWBCVCIOLEIOaKuS7bmPOKwJS8zHkE9zJ</SecretAccessKey>
          <SessionToken>IQoJb3JpZ2luX2Vj74ZBSWLOWBCVCIOLeyJyb2xlX2FybiI6ImFybjphd3M6aWFtOjoxMjM0NTY3ODkwMTI6cm9sZS90ZWFtL2RlcGxveSIsInNlc3Npb25fbmFtZSI6ImpvYi0xIiwicmVxdWVzdGVyIjoiYXJuOmF3czppYW06OjEyMzQ1Njc4OTAxMjp1c2VyL2FsaWNlIiwicmVxdWVzdGVyX2tleSI6IkFLSUFJT1NGT0ROTjdFWEFNUExFIiwibm9uY2UiOiIwMDAwMDAwMDAwMDAwMDAwIiwiaXNzdWVkX2F0IjoiMjAyNi0wMy0wNFQwNTowNjowN1oiLCJ2aWEiOiJhc3N1bWUtcm9sZSIsImR1cmF0aW9uX3NlY29uZHMiOjM2MDB95sKsAaqz32y1gtLsa0dCx1NlavdBYAYNb45EbVyrVE1coWrv0XtWy1toclDF0Q4/VwhFQ6dnjsFt0COfH+7F8SHOFjgcbsqrtl8jkYnXKNzAqQ==</SessionToken>
          <Expiration>2026-03-04T06:06:07Z</Expiration>
        </Credentials>
      </AssumeRoleResult>
      <ResponseMetadata>
        <RequestId>R</RequestId>
      </ResponseMetadata>
    </AssumeRoleResponse>
    "#);
}

#[test]
fn json_is_answered_to_who_asks_for_it() {
    let mut bench = Bench::new();
    for (form, action) in [
        ("Action=GetCallerIdentity", "identity"),
        ("Action=AssumeRole&RoleSessionName=job-1", "invalid"),
        (
            "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/team/deploy&RoleSessionName=j1&Tags.member.1.Key=a&Tags.member.1.Value=b",
            "denied",
        ),
    ] {
        let mut request = bench.signed(&alice(), form);
        request
            .headers
            .push(("accept".to_owned(), "application/json".to_owned()));
        let text = bench.text(&request);
        match action {
            "identity" => insta::assert_snapshot!(text, @r#"
            200
            {"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":"123456789012","Arn":"arn:aws:iam::123456789012:user/alice","UserId":"AIDAYNC2GX4EDTODB77CV"},"ResponseMetadata":{"RequestId":"R"}}}
            "#),
            "invalid" => insta::assert_snapshot!(text, @r#"
            400
            {"Error":{"Code":"ValidationError","Message":"1 validation error detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null","Type":"Sender"},"RequestId":"R"}
            "#),
            _ => insta::assert_snapshot!(text, @r#"
            403
            {"Error":{"Code":"AccessDenied","Message":"User: arn:aws:iam::123456789012:user/alice is not authorized to perform: sts:TagSession on resource: arn:aws:iam::123456789012:role/team/deploy","Type":"Sender"},"RequestId":"R"}
            "#),
        }
    }
}

#[test]
fn an_error_has_its_envelope() {
    let mut bench = Bench::new();
    let mut request = get("/?Action=GetCallerIdentity&Version=2011-06-15");
    insta::assert_snapshot!(bench.text(&request), @r#"
    403
    <ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <Error>
        <Type>Sender</Type>
        <Code>MissingAuthenticationToken</Code>
        <Message>Request is missing Authentication Token</Message>
      </Error>
      <RequestId>R</RequestId>
    </ErrorResponse>
    "#);
    request.query = Some("Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=x".to_owned());
    request.headers.push(("authorization".to_owned(), "x".to_owned()));
    insta::assert_snapshot!(bench.text(&request), @r#"
    403
    <ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <Error>
        <Type>Sender</Type>
        <Code>SignatureDoesNotMatch</Code>
      </Error>
      <RequestId>R</RequestId>
    </ErrorResponse>
    "#);
}

#[test]
fn texts_from_the_request_are_escaped() {
    let mut bench = Bench::new();
    let request = bench.signed(
        &alice(),
        "Action=AssumeRole&RoleArn=%3C%26%3E%0D%22aaaaaaaaaaaaaaaaaaaa&RoleSessionName=job-1",
    );
    insta::assert_snapshot!(bench.text(&request), @r#"
    400
    <ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <Error>
        <Type>Sender</Type>
        <Code>ValidationError</Code>
        <Message>&lt;&amp;&gt;&#xD;"aaaaaaaaaaaaaaaaaaaa is invalid</Message>
      </Error>
      <RequestId>R</RequestId>
    </ErrorResponse>
    "#);
}

#[test]
fn unknown_actions_and_versions_are_refused_before_any_signature() {
    let mut bench = Bench::new();
    insta::assert_snapshot!(bench.text(&get("/?Action=Frobnicate&Version=2011-06-15")), @r#"
    400
    <ErrorResponse xmlns="http://webservices.amazon.com/AWSFault/2005-15-09">
      <Error>
        <Type>Sender</Type>
        <Code>InvalidAction</Code>
        <Message>Could not find operation Frobnicate for version 2011-06-15</Message>
      </Error>
      <RequestId>R</RequestId>
    </ErrorResponse>
    "#);
    insta::assert_snapshot!(bench.text(&get("/?Action=AssumeRole")), @r#"
    400
    <ErrorResponse xmlns="http://webservices.amazon.com/AWSFault/2005-15-09">
      <Error>
        <Type>Sender</Type>
        <Code>InvalidAction</Code>
        <Message>Could not find operation AssumeRole for version NO_VERSION_SPECIFIED</Message>
      </Error>
      <RequestId>R</RequestId>
    </ErrorResponse>
    "#);
    assert!(
        bench
            .text(&get("/?Action=AssumeRole&Version=2010-05-08"))
            .contains("for version 2010-05-08")
    );
}

#[test]
fn an_action_that_the_fake_lacks_says_so() {
    let mut bench = Bench::new();
    insta::assert_snapshot!(bench.text(&get("/?Action=GetDelegatedAccessToken&Version=2011-06-15")), @r#"
    501
    <ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <Error>
        <Type>Receiver</Type>
        <Code>NotImplemented</Code>
        <Message>fake-sts does not implement GetDelegatedAccessToken</Message>
      </Error>
      <RequestId>R</RequestId>
    </ErrorResponse>
    "#);
}

#[test]
fn requests_that_are_none_of_sts_get_plain_answers() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.text(&get("/x?Action=GetCallerIdentity")),
        "404\n<UnknownOperationException/>\n"
    );
    assert_eq!(bench.text(&get("/?a=%zz")), "400\n");
    assert_eq!(bench.text(&get("/%4")), "400\n");
    assert_eq!(bench.text(&get("/")), "302\nlocation: https://aws.amazon.com/iam\n");
    assert_eq!(
        bench.text(&get("/?a=b")),
        "302\nlocation: https://aws.amazon.com/iam?a=b\n"
    );
    let long = format!(
        "/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Signature=0&x={}",
        "y".repeat(15_870)
    );
    assert_eq!(bench.text(&get(&long)), "400\n");
    let mut untyped = bench.signed(&alice(), "Action=GetCallerIdentity");
    untyped.headers.retain(|(name, _)| name != "content-type");
    assert_eq!(bench.text(&untyped), "302\nlocation: https://aws.amazon.com/iam\n");
    let mut preflight = get("/");
    preflight.method = "OPTIONS".to_owned();
    insta::assert_snapshot!(bench.text(&preflight), @"
    200
    access-control-allow-origin: *
    access-control-allow-methods: POST
    access-control-expose-headers: x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date,smithy-protocol
    access-control-max-age: 172800
    ");
}

#[test]
fn the_first_of_two_actions_is_carried_out() {
    let mut bench = Bench::new();
    let request = bench.signed(&alice(), "Action=GetCallerIdentity&Action=AssumeRole");
    assert!(bench.text(&request).contains("<GetCallerIdentityResult>"));
}

#[test]
fn a_form_cannot_make_a_claim() {
    let mut bench = Bench::new();
    let request = bench.signed(&alice(), "Action=GetCallerIdentity&X-Amz-Algorithm=AWS4-HMAC-SHA256");
    assert!(bench.text(&request).starts_with("200\n"));
    let facts = crate::answer::facts(&bench.state, &request, &crate::front::receive(&request));
    assert_eq!(facts.get("access_key_id"), Some("AKIAIOSFODNN7EXAMPLE"));
    assert_eq!(facts.get("caller"), Some("arn:aws:iam::123456789012:user/alice"));
}
