//! Whole answers, byte for byte.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::running::{Running, body, timeless};

#[test]
fn a_token_and_what_it_opens_have_the_captured_bytes() {
    let imds = Running::start(&[]);
    let put = imds.raw(
        "PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\nX-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let token = body(&put);
    assert_eq!(
        timeless(&put),
        format!(
            "HTTP/1.1 200 OK\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\nContent-Length: 56\r\nDate: TIME\r\n\
             Server: EC2ws\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n{token}"
        )
    );
    let get = imds.raw(&format!(
        "GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n"
    ));
    assert_eq!(
        timeless(&get),
        "HTTP/1.1 200 OK\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\nContent-Type: text/plain\r\n\
         Accept-Ranges: none\r\nLast-Modified: TIME\r\nContent-Length: 19\r\nDate: TIME\r\nServer: EC2ws\r\n\
         Connection: close\r\n\r\ni-0123456789abcdef0"
    );
    let v1 = imds.get("/latest/meta-data/instance-id");
    assert_eq!(
        timeless(&v1),
        timeless(&get).replace("X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\n", "")
    );
    let head = imds.raw("HEAD /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(timeless(&head), timeless(&v1).replace("i-0123456789abcdef0", ""));
}

#[test]
fn refusals_have_the_captured_bytes() {
    let imds = Running::world("[instance]\nhttp_tokens = \"required\"\n", &[]);
    let rest =
        "Content-Length: 0\r\nDate: TIME\r\nServer: EC2ws\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n";
    assert_eq!(timeless(&imds.get("/")), format!("HTTP/1.1 401 Unauthorized\r\n{rest}"));
    let post = imds.raw("POST /latest/api/token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        timeless(&post),
        format!("HTTP/1.1 405 Not Allowed\r\nAllow: OPTIONS, PUT\r\n{rest}")
    );
    let methods = imds.raw("OPTIONS /latest/api/token HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(
        timeless(&methods),
        format!("HTTP/1.1 200 OK\r\nAllow: OPTIONS, PUT\r\n{rest}")
    );
    let forwarded = imds.raw(
        "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nx-FORWARDED-for: 1.2.3.4\r\n\
         X-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(timeless(&forwarded), format!("HTTP/1.1 403 Forbidden\r\n{rest}"));
    let untimed = imds.raw("PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(timeless(&untimed), format!("HTTP/1.1 400 Bad Request\r\n{rest}"));
}

#[test]
fn the_404_page_has_the_captured_bytes() {
    let imds = Running::start(&[]);
    assert_eq!(
        timeless(&imds.get("/latest/nothing")),
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 339\r\nDate: TIME\r\nServer: EC2ws\r\n\
         Connection: close\r\n\r\n<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n\
         <!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n\
         \t\t \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n <head>\n\
         \x20 <title>404 - Not Found</title>\n </head>\n <body>\n  <h1>404 - Not Found</h1>\n </body>\n</html>\n"
    );
}

#[test]
fn the_connection_is_closed_after_each_answer_unless_switched() {
    let two = "GET /latest/ HTTP/1.1\r\nHost: x\r\n\r\nGET /latest/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let closing = Running::start(&[]);
    assert_eq!(closing.raw(two).matches("HTTP/1.1 200 OK").count(), 1);
    let keeping = Running::start(&["--keep-alive"]);
    assert_eq!(keeping.raw(two).matches("HTTP/1.1 200 OK").count(), 2);
}

#[test]
fn the_lenient_profile_serves_what_the_strict_one_does_not() {
    let disguised = "/x/..//latest/%2e/meta-data/iam/security-credentials/lab-host/extra";
    assert!(Running::start(&[]).get(disguised).starts_with("HTTP/1.1 404"));
    let lenient = Running::start(&["--profile", "lenient"]);
    assert!(body(&lenient.get(disguised)).contains("\"Code\" : \"Success\""));
    let posted = lenient.raw(&format!(
        "POST {disguised} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    ));
    assert!(body(&posted).contains("\"Code\" : \"Success\""));
}

#[test]
fn ipv6_is_served_unless_the_world_disables_it() {
    let exchange = |imds: &Running| {
        let address = imds.lines[1].strip_prefix("listening on http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /latest/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    assert!(exchange(&Running::start(&[])).unwrap().starts_with("HTTP/1.1 200 OK"));
    let disabled = Running::world("[instance]\nipv6 = false\n", &[]);
    assert!(exchange(&disabled).is_err());
    assert_eq!(
        disabled.ledger()[0]["answer"]["reason"],
        "the IPv6 endpoint is disabled"
    );
}
