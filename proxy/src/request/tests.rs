//! The parser against what it must read and what it must not.

use proptest::prelude::*;

use super::{HEAD_MAX, HEADERS_MAX, LINE_MAX, Malformed, Method, Once, find_end, parse};

/// The plain way to write a request.
fn render(method: &str, path: &str, headers: &[(String, String)]) -> Vec<u8> {
    let fields: String = headers
        .iter()
        .map(|(name, value)| [name, ": ", value, "\r\n"].concat())
        .collect();
    format!("{method} {path} HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

#[test]
fn only_the_end_of_the_head_is_its_end() {
    let head = b"GET / HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n";
    for cut in 0..head.len() {
        assert_eq!(find_end(&head[..cut]), Ok(None), "{cut}");
    }
    assert_eq!(find_end(head), Ok(Some(head.len())));
    let two = [&head[..], &head[..]].concat();
    assert_eq!(find_end(&two), Ok(Some(head.len())));
}

#[test]
fn a_fault_is_seen_before_the_end() {
    for (bytes, fault) in [
        (&b"GET /\n"[..], Malformed::BareLineEnd),
        (b"\n", Malformed::BareLineEnd),
        (b"GET /\r\n", Malformed::RequestLine),
        (b"\r\n", Malformed::RequestLine),
        (b"GET / HTTP/1.1\r\nA: b\n", Malformed::BareLineEnd),
        (b"GET / HTTP/1.1\r\nA: b\rc", Malformed::BareLineEnd),
        (b"GET http://x/ HTTP/1.1\r\n", Malformed::Target),
        (b"\x16\x03", Malformed::ForbiddenByte),
        (&[b'a'; 3000], Malformed::TooLarge),
    ] {
        assert_eq!(find_end(bytes), Err(fault), "{bytes:?}");
    }
}

#[test]
fn a_head_that_is_too_long_never_ends() {
    let mut head = b"GET / HTTP/1.1\r\n".to_vec();
    head.extend(std::iter::repeat_n(b'a', HEAD_MAX));
    assert_eq!(find_end(&head), Err(Malformed::TooLarge));
}

fn host() -> (String, String) {
    ("Host".to_owned(), "169.254.169.254".to_owned())
}

#[test]
fn each_bound_is_the_last_that_is_taken() {
    let with_fields = |count: usize| {
        let fields = (1..count).map(|_| ("A".to_owned(), "b".to_owned()));
        render("GET", "/", &fields.chain([host()]).collect::<Vec<_>>())
    };
    assert!(parse(&with_fields(HEADERS_MAX)).is_ok());
    let one_more = with_fields(HEADERS_MAX + 1);
    assert_eq!(find_end(&one_more), Err(Malformed::TooLarge));

    let with_line = |length: usize| {
        let path = "/".repeat(length - "GET  HTTP/1.1".len());
        render("GET", &path, &[host()])
    };
    assert!(parse(&with_line(LINE_MAX)).is_ok());
    let one_more = with_line(LINE_MAX + 1);
    assert_eq!(find_end(&one_more), Err(Malformed::TooLarge));
    // Nobody waits for the end of a line that is too long already.
    assert_eq!(find_end(&one_more[..LINE_MAX]), Ok(None));
    assert_eq!(find_end(&one_more[..LINE_MAX + 2]), Err(Malformed::TooLarge));

    let with_length = |length: usize| {
        let empty = render("GET", "/", &[host(), ("A".to_owned(), String::new())]).len();
        render("GET", "/", &[host(), ("A".to_owned(), "b".repeat(length - empty))])
    };
    assert_eq!(find_end(&with_length(HEAD_MAX)), Ok(Some(HEAD_MAX)));
    assert_eq!(find_end(&with_length(HEAD_MAX + 1)), Err(Malformed::TooLarge));
}

#[test]
fn a_tab_may_stand_in_a_field_and_no_other_control_anywhere() {
    assert_eq!(find_end(b"GET / HTTP/1.1\r\nA:\tb"), Ok(None));
    assert_eq!(find_end(b"GET\t/"), Err(Malformed::ForbiddenByte));
    for control in (0..b' ').chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte)) {
        let head = [&b"GET / HTTP/1.1\r\nA: "[..], &[control]].concat();
        assert_eq!(find_end(&head), Err(Malformed::ForbiddenByte), "{control}");
    }
}

#[test]
fn a_body_may_be_announced_only_where_the_method_is_refused_anyway() {
    let with_length = |method: &str, length: &str| {
        let head = render(method, "/", &[host(), ("Content-Length".to_owned(), length.to_owned())]);
        parse(&head).map(|request| request.close)
    };
    assert_eq!(with_length("PUT", "0"), Ok(false));
    assert_eq!(with_length("PUT", "1"), Err(Malformed::Framing));
    assert_eq!(with_length("POST", "12"), Ok(true));
    for bad in ["", "1a", "-1", "+1", "0x1", "1, 1"] {
        assert_eq!(with_length("POST", bad), Err(Malformed::Framing), "{bad}");
    }
}

fn header() -> impl Strategy<Value = (String, String)> {
    // Names that mean nothing, so that any value will do.
    ("[A-Za-z][A-Za-z0-9-]{0,10}", "([!-~]([ -~]{0,20}[!-~])?)?").prop_map(|(name, value)| (format!("Z-{name}"), value))
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        method in "GET|HEAD|PUT|POST|DELETE",
        path in "/[a-zA-Z0-9/._~?=;:@-]{0,60}",
        token in proptest::option::of("[!-~]{1,60}"),
        ttl in proptest::option::of("[0-9]{1,6}"),
        forwarded: bool,
        close: bool,
        others in proptest::collection::vec(header(), 0..8),
    ) {
        let mut headers = vec![("hOsT".to_owned(), "169.254.169.254".to_owned())];
        headers.extend(others);
        headers.extend(token.clone().map(|token| ("X-aws-ec2-metadata-TOKEN".to_owned(), token)));
        headers.extend(ttl.clone().map(|ttl| ("x-aws-ec2-metadata-token-ttl-seconds".to_owned(), ttl)));
        if forwarded { headers.push(("x-forwarded-for".to_owned(), "10.0.0.1".to_owned())); }
        if close { headers.push(("connection".to_owned(), "keep-alive, Close".to_owned())); }
        let head = render(&method, &path, &headers);
        let request = parse(&head).unwrap();
        let expected = match method.as_str() { "GET" => Method::Get, "HEAD" => Method::Head, "PUT" => Method::Put, _ => Method::Other };
        prop_assert_eq!(request.method, expected);
        prop_assert_eq!(request.path, path);
        prop_assert_eq!(request.token, token.as_deref().map_or(Once::Absent, Once::One));
        prop_assert_eq!(request.token_ttl, ttl.as_deref().map_or(Once::Absent, Once::One));
        prop_assert_eq!((request.is_forwarded, request.close), (forwarded, close));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = find_end(&bytes);
        let _ = parse(&bytes);
    }

    #[test]
    fn no_change_of_a_good_request_makes_it_panic_or_reach_another_host(at in 0usize..90, byte: u8, delete: bool) {
        let mut head = render("GET", "/latest/meta-data/", &[("Host".to_owned(), "169.254.169.254".to_owned()), ("A".to_owned(), "b".to_owned())]);
        let at = at % head.len();
        if delete { head.remove(at); } else { head[at] = byte; }
        if let Ok(Some(end)) = find_end(&head)
            && let Ok(request) = parse(&head[..end])
        {
            prop_assert!(request.path.starts_with('/'));
            let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
            prop_assert!(text.contains("host:") && text.contains("169.254.169.254"), "{}", text);
        }
    }

    #[test]
    fn the_end_does_not_depend_on_what_follows(rest in proptest::collection::vec(any::<u8>(), 0..50)) {
        let mut head = render("GET", "/", &[("Host".to_owned(), "169.254.169.254".to_owned())]);
        let length = head.len();
        head.extend(rest);
        prop_assert_eq!(find_end(&head), Ok(Some(length)));
    }
}
