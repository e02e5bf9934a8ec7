//! Heads of requests.

use metadata_proxy::request::{HEAD_MAX, HEADERS_MAX, LINE_MAX, Method, Named, Once, Request, find_end, parse};

/// A head that is accepted is one to the strictest reader too, wherever the network cuts it, and says the same when it is written anew.
pub(crate) fn check(bytes: &[u8]) {
    let end = find_end(bytes);
    // What is wrong stays wrong, and what has ended ends there.
    for cut in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let part = bytes.get(..cut).unwrap_or_default();
        match find_end(part) {
            Ok(Some(length)) => assert_eq!(end, Ok(Some(length))),
            Ok(None) => assert!(end.is_err() || end != Ok(Some(cut))),
            Err(fault) => assert_eq!(end, Err(fault)),
        }
    }
    let Ok(Some(length)) = end else {
        assert!(parse(bytes).is_err());
        return;
    };
    let head = bytes.get(..length).unwrap_or_default();
    assert!(length == bytes.len() || parse(bytes).is_err(), "bytes behind the end");
    let Ok(request) = parse(head) else { return };
    check_head(head, &request);
    let written = write(&request);
    assert_eq!(parse(&written), Ok(request), "{}", written.escape_ascii());
}

/// Reads the head once more, by splitting it.
fn check_head(head: &[u8], request: &Request<'_>) {
    assert!(head.len() <= HEAD_MAX);
    let text: String = head.iter().copied().map(char::from).collect();
    let lines = text.strip_suffix("\r\n\r\n").unwrap();
    assert_eq!(lines.matches('\r').count(), lines.matches('\n').count());
    let mut lines = lines.split("\r\n");
    let line = lines.next().unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert!(line.len() <= LINE_MAX && words.len() == 3 && words[2] == "HTTP/1.1");
    assert_eq!(words[1], request.path);
    assert!(request.path.starts_with('/') && !request.path.contains(['%', '\\', '#', '"', '<']));
    assert_eq!(words[0] == "GET", request.method == Method::Get);
    assert_eq!(words[0] == "PUT", request.method == Method::Put);
    let mut fields = Vec::new();
    for line in lines {
        assert!(!line.contains(['\r', '\n', '\0']));
        let (name, value) = line.split_once(':').unwrap();
        assert!(!name.is_empty() && !name.contains([' ', '\t']), "{name:?}");
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])));
    }
    assert!(fields.len() <= HEADERS_MAX);
    let values = |name: &str| -> Vec<&str> {
        let named = fields.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| *value).collect()
    };
    assert_eq!(values("host").len(), 1);
    assert!(values("transfer-encoding").is_empty() && values("trailer").is_empty());
    match values("content-length").as_slice() {
        [] | ["0"] => {}
        [length] => assert!(request.method == Method::Other && request.close && length.parse::<f64>().is_ok()),
        several => panic!("{several:?}"),
    }
    for (name, once) in [
        ("authorization", request.authorization),
        ("x-aws-ec2-metadata-token", request.token),
        ("x-aws-ec2-metadata-token-ttl-seconds", request.token_ttl),
    ] {
        match (values(name).as_slice(), once) {
            ([], Once::Absent) => {}
            ([value], Once::One(read)) => assert_eq!(*value, read),
            ([_, ..], Once::Ambiguous) => {}
            seen => panic!("{name}: {seen:?}"),
        }
    }
}

/// The shortest head that says the same.
fn write(request: &Request<'_>) -> Vec<u8> {
    let method = match request.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Put => "PUT",
        Method::Other => "X",
    };
    let host = match request.host {
        Named::Metadata => "instance-data",
        Named::Container => "169.254.170.2",
    };
    let mut head = format!("{method} {} HTTP/1.1\r\nHost:{host}\r\n", request.path).into_bytes();
    for (name, once) in [
        ("Authorization", request.authorization),
        ("X-aws-ec2-metadata-token", request.token),
        ("X-aws-ec2-metadata-token-ttl-seconds", request.token_ttl),
    ] {
        let value = match once {
            Once::Absent => continue,
            Once::One(value) => value.as_bytes(),
            Once::Ambiguous => b"\x80",
        };
        head.extend([name.as_bytes(), b":", value, b"\r\n"].concat());
    }
    if request.is_forwarded {
        head.extend(b"X-Forwarded-For:\r\n");
    }
    if request.close {
        head.extend(b"Connection:close\r\n");
    }
    head.extend(b"\r\n");
    head
}
