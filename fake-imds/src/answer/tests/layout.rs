use super::*;
use crate::wire::{Frame, Layout, lay_out};

/// Status line and headers in order, and the body.
fn shown(answer: Answer) -> String {
    let (layout, body) = match answer.content {
        Content::Empty | Content::Silence => (Layout::Empty, Bytes::new()),
        Content::Token(token) => (Layout::Token, token.into()),
        Content::Text(text, at) => (Layout::Data(at), text),
        Content::Json(text, at) => (Layout::Json(at), text),
        Content::UserData(data, at) => (Layout::UserData(at), data),
        Content::Page(page) => (Layout::Page, page),
        Content::Container => (Layout::Container, "credentials for a container".into()),
        Content::ContainerRefusal(code) => (Layout::Container, code.into()),
        Content::Extended => (Layout::Data(now()), "credentials with an account".into()),
        Content::Credentials(kind) => (Layout::Data(now()), format!("credentials of {kind:?}").into()),
    };
    let frame = Frame {
        status: answer.status,
        layout,
        token_seconds: answer.token_seconds,
        allow: answer.allow,
        location: answer.location,
        keep_alive: false,
        now: now(),
    };
    let response = lay_out(&frame, body);
    let mut lines = vec![format!("{} {}", answer.status, phrase(answer.status))];
    lines.extend(
        response
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())),
    );
    lines.push(String::new());
    lines.push(String::from_utf8(response.body().to_vec()).unwrap());
    lines.join("\n")
}

#[test]
fn a_token_is_issued_as_captured() {
    let answer = Bench::new(Profile::Ec2).ask("PUT", "/latest/api/token", &[(TTL, "21600")]);
    assert_eq!(answer.hop_limit, Some(2));
    insta::assert_snapshot!(shown(answer), @r#"
    200 OK
    x-aws-ec2-metadata-token-ttl-seconds: 21600
    content-length: 56
    date: Fri, 02 Jan 2026 03:04:05 GMT
    server: EC2ws
    connection: close
    content-type: text/plain

    AQAEAeG7B53FMU3ISWQB4S7E2ALb_lNGZcIuXh78T8P2DuZXN3n07A==
    "#);
}

#[test]
fn metadata_is_answered_as_captured() {
    let bench = Bench::new(Profile::Ec2);
    let token = bench.token("60");
    insta::assert_snapshot!(shown(bench.ask("GET", "/latest/meta-data/instance-id", &[(TOKEN, &token)])), @r#"
    200 OK
    x-aws-ec2-metadata-token-ttl-seconds: 60
    content-type: text/plain
    accept-ranges: none
    last-modified: Fri, 02 Jan 2026 03:04:05 GMT
    content-length: 19
    date: Fri, 02 Jan 2026 03:04:05 GMT
    server: EC2ws
    connection: close

    i-0123456789abcdef0
    "#);
    insta::assert_snapshot!(shown(bench.get("/latest/meta-data/instance-id")), @r#"
    200 OK
    content-type: text/plain
    accept-ranges: none
    last-modified: Fri, 02 Jan 2026 03:04:05 GMT
    content-length: 19
    date: Fri, 02 Jan 2026 03:04:05 GMT
    server: EC2ws
    connection: close

    i-0123456789abcdef0
    "#);
    insta::assert_snapshot!(shown(bench.get("/latest/user-data")), @r#"
    200 OK
    content-type: application/octet-stream
    accept-ranges: none
    last-modified: Fri, 02 Jan 2026 03:04:05 GMT
    content-length: 77
    date: Fri, 02 Jan 2026 03:04:05 GMT
    server: EC2ws
    connection: close

    #!/bin/sh
    export RUNNER_REGISTRATION=in-user-data
    # canary: 5IFPXMUXAYATATXX
    "#);
    insta::assert_snapshot!(shown(bench.get("/latest/dynamic/instance-identity/document")), @r#"
    200 OK
    content-type: text/plain
    accept-ranges: none
    last-modified: Fri, 02 Jan 2026 03:04:05 GMT
    content-length: 500
    date: Fri, 02 Jan 2026 03:04:05 GMT
    server: EC2ws
    connection: close

    {
      "accountId" : "123456789012",
      "architecture" : "x86_64",
      "availabilityZone" : "eu-central-1a",
      "billingProducts" : null,
      "devpayProductCodes" : null,
      "marketplaceProductCodes" : [ "6R2B2YW2GKY7JYJP" ],
      "imageId" : "ami-0b7937aeb16a7eb94",
      "instanceId" : "i-0123456789abcdef0",
      "instanceType" : "m5.large",
      "kernelId" : null,
      "pendingTime" : "2026-01-02T03:04:05Z",
      "privateIp" : "172.31.22.10",
      "ramdiskId" : null,
      "region" : "eu-central-1",
      "version" : "2017-09-30"
    }
    "#);
    insta::assert_snapshot!(shown(bench.get("/latest/meta-data/iam/info")), @r#"
    200 OK
    content-type: text/plain
    accept-ranges: none
    last-modified: Fri, 02 Jan 2026 03:04:05 GMT
    content-length: 203
    date: Fri, 02 Jan 2026 03:04:05 GMT
    server: EC2ws
    connection: close

    {
      "Code" : "Success",
      "LastUpdated" : "2026-01-02T03:04:05Z",
      "InstanceProfileArn" : "arn:aws:iam::123456789012:instance-profile/lab-host-profile",
      "InstanceProfileId" : "AIPAJLBGKKMWDYP25GH2X"
    }
    "#);
}

#[test]
fn errors_are_answered_as_captured() {
    let bench = Bench::required(Profile::Ec2);
    insta::assert_snapshot!(shown(bench.get("/")), @r#"
    401 Unauthorized
    content-length: 0
    date: Fri, 02 Jan 2026 03:04:05 GMT
    server: EC2ws
    connection: close
    content-type: text/plain
    "#);
    insta::assert_snapshot!(shown(bench.ask("GET", "/latest/api/token", &[])), @r#"
    405 Not Allowed
    allow: OPTIONS, PUT
    content-length: 0
    date: Fri, 02 Jan 2026 03:04:05 GMT
    server: EC2ws
    connection: close
    content-type: text/plain
    "#);
    insta::assert_snapshot!(shown(bench.ask("OPTIONS", "/latest/api/token", &[])), @r#"
    200 OK
    allow: OPTIONS, PUT
    content-length: 0
    date: Fri, 02 Jan 2026 03:04:05 GMT
    server: EC2ws
    connection: close
    content-type: text/plain
    "#);
    let not_found = shown(Bench::new(Profile::Ec2).get("/latest/meta-data/nothing"));
    assert!(
        not_found.starts_with("404 Not Found\ncontent-type: text/html\ncontent-length: 339\ndate: "),
        "{not_found}"
    );
    insta::assert_snapshot!(shown(Bench::required(Profile::Aemm).get("/latest/")), @r#"
    401 Unauthorized
    content-type: text/html
    content-length: 353
    date: Fri, 02 Jan 2026 03:04:05 GMT
    server: EC2ws
    connection: close

    <?xml version="1.0" encoding="UTF-8"?>
    <!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
    <html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
       <head>
          <title>401 - Unauthorized</title>
       </head>
       <body>
          <h1>401 - Unauthorized</h1>
       </body>
    </html>
    "#);
}
