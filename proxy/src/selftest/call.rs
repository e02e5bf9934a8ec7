//! What the probe does in its container: it asks the endpoint as any container would, and judges the answers by their status alone.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{STRANGER, SUBCOMMAND, path};

/// For one step of a call. The proxy gives an answer 5 s, when the engine is slow to say who asks.
const CALL: Duration = Duration::from_secs(8);
/// More than a status line is long; the rest of an answer is nobody's business, least of all a log's.
const STATUS_BYTES: u64 = 64;
const PROOF: &str = "the proof";
const REFUSED: &str = "403";

/// What nobody gets whom no rule is for: the way to a token, and the way without one.
const FORBIDDEN: [(&str, &str, &str); 2] = [
    (
        "PUT /latest/api/token",
        "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n",
        "a token",
    ),
    ("GET /latest/meta-data/iam/security-credentials/", "", "a role"),
];

/// The probe's own call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Not an endpoint and a nonce.
    #[error("usage: {SUBCOMMAND} ADDRESS:PORT NONCE [{STRANGER}]")]
    Usage,
    /// The endpoint could not be asked.
    #[error("calling {endpoint} for {what}")]
    Io {
        /// Whom.
        endpoint: SocketAddr,
        /// For what.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The answer was another one.
    #[error("{endpoint} answered {status}, and not {expected}, to a request for {what}")]
    Answer {
        /// Who.
        endpoint: SocketAddr,
        /// To what.
        what: &'static str,
        /// The status.
        status: String,
        /// The status that it should have been.
        expected: &'static str,
    },
}

/// One request that carries the nonce; and, as a stranger, requests that must be refused.
///
/// # Errors
/// The endpoint did not answer as a proxy that runs the self-test does.
pub fn call(arguments: &[String]) -> Result<(), CallError> {
    let (endpoint, nonce, is_stranger) = match arguments {
        [endpoint, nonce] => (endpoint, nonce, false),
        [endpoint, nonce, word] if word == STRANGER => (endpoint, nonce, true),
        [..] => return Err(CallError::Usage),
    };
    let endpoint: SocketAddr = endpoint.parse().map_err(|_| CallError::Usage)?;
    // 204 before anybody is served, 200 from then on.
    expect(endpoint, &format!("GET {}", path(nonce)), "", PROOF, "200")?;
    if is_stranger {
        for (request, header, what) in FORBIDDEN {
            expect(endpoint, request, header, what, REFUSED)?;
        }
    }
    Ok(())
}

fn expect(
    endpoint: SocketAddr,
    request: &str,
    header: &str,
    what: &'static str,
    expected: &'static str,
) -> Result<(), CallError> {
    let status = ask(endpoint, request, header).map_err(|source| CallError::Io { endpoint, what, source })?;
    if status == expected || what == PROOF && status == "204" {
        return Ok(());
    }
    Err(CallError::Answer {
        endpoint,
        what,
        status,
        expected,
    })
}

/// The status of the answer.
fn ask(endpoint: SocketAddr, request: &str, header: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&endpoint, CALL)?;
    stream.set_read_timeout(Some(CALL))?;
    stream.set_write_timeout(Some(CALL))?;
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: {endpoint}\r\n{header}Connection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(STATUS_BYTES).read_to_end(&mut answer)?;
    Ok(read_status(&answer))
}

/// Three digits, or words for what is none.
fn read_status(answer: &[u8]) -> String {
    let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    match status {
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            digits.iter().map(|&digit| char::from(digit)).collect()
        }
        Some(_) | None => format!("{} bytes that are no HTTP", answer.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one connection after the other; what was asked.
    fn serve(answers: Vec<&'static str>) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = thread::spawn(move || {
            let answer = |answer: &str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(request).unwrap()
            };
            answers.into_iter().map(answer).collect()
        });
        (address, serving)
    }

    fn words(address: &str, more: &[&str]) -> Vec<String> {
        let words = [address, "n0nce"].into_iter().chain(more.iter().copied());
        words.map(str::to_owned).collect()
    }

    #[test]
    fn the_probe_wants_an_endpoint_and_a_nonce() {
        for bad in [
            &[][..],
            &["endpoint", "n"],
            &["127.0.0.1:1", "n", "x"],
            &["127.0.0.1:1", "n", STRANGER, "x"],
        ] {
            let bad: Vec<String> = bad.iter().map(ToString::to_string).collect();
            assert!(matches!(call(&bad), Err(CallError::Usage)), "{bad:?}");
        }
    }

    #[test]
    fn before_anybody_is_served_it_asks_for_the_proof_alone() {
        let (address, serving) = serve(vec!["HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"]);
        call(&words(&address, &[])).unwrap();
        let asked = serving.join().unwrap();
        assert!(
            asked[0].starts_with("GET /self-test-call/n0nce HTTP/1.1\r\nHost: "),
            "{asked:?}"
        );
    }

    #[test]
    fn a_stranger_must_be_refused_everything_else() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
        let (address, serving) = serve(vec![ok, refused, refused]);
        call(&words(&address, &[STRANGER])).unwrap();
        let asked = serving.join().unwrap();
        assert!(asked[1].starts_with("PUT /latest/api/token HTTP/1.1\r\n") && asked[1].contains("ttl-seconds: 60\r\n"));
        assert!(asked[2].starts_with("GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\n"));
    }

    #[test]
    fn what_it_says_holds_nothing_of_an_answer_but_its_status() {
        let (address, serving) = serve(vec![
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret",
        ]);
        let error = call(&words(&address, &[STRANGER])).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{address} answered 200, and not 403, to a request for a token")
        );
        serving.join().unwrap();
        for (answer, status) in [
            (&b""[..], "0 bytes that are no HTTP"),
            (b"secret", "6 bytes that are no HTTP"),
            (b"HTTP/1.1 2x0 secret", "19 bytes that are no HTTP"),
            (b"HTTP/1.1 404 Not Found", "404"),
        ] {
            assert_eq!(read_status(answer), status);
        }
    }
}
