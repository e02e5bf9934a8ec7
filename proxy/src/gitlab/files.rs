//! The files that `[[gitlab]]` names: authorities of a server's certificate, and the operator's token.

use std::io::{self, Read as _};
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::config::{Fault, Gitlab};
use crate::credentials::Secret;

/// Bytes of a file of certificates; that of a whole distribution has a quarter of a million.
const AUTHORITIES_MAX: u64 = 1024 * 1024;
/// Bytes of a file with a token.
const TOKEN_MAX: u64 = 4096;

/// Reads a file of certificates, as it is. The client that is given them takes it for granted that they are some.
pub(super) fn read_authorities(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = read_file(path, AUTHORITIES_MAX)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| invalid(error.to_string()))?;
    if certificates.is_empty() {
        return Err(invalid("it holds no certificate"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(invalid)?;
    }
    Ok(bytes.to_vec())
}

/// Reads the operator's token. It may be renewed while the proxy runs, so that it is read for each question.
pub(super) fn read_token(path: &Path) -> io::Result<Secret> {
    let bytes = read_file(path, TOKEN_MAX)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| invalid("it holds no text"))?
        .trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(invalid("it holds no token"));
    }
    Ok(Secret::new(text.to_owned()))
}

fn read_file(path: &Path, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // At once as large as it may become: an old copy would not be wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(TOKEN_MAX).unwrap_or_default() + 1));
    std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
        return Err(invalid("it is too long"));
    }
    Ok(bytes)
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Every fault of the files, for `check`: found while the proxy serves, they would refuse everybody.
#[must_use]
pub fn examine(servers: &[Gitlab]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |path: &Path, field: String, problem: String, remedy: &str| {
        faults.push(Fault {
            file: path.display().to_string(),
            line: 1,
            field,
            problem,
            remedy: remedy.to_owned(),
        });
    };
    for server in servers {
        if let Some(path) = &server.ca
            && let Err(error) = read_authorities(path)
        {
            let remedy = "write certificates in PEM there, or leave ca out if a public authority signed the server's";
            add(path, format!("ca of gitlab {}", server.host), error.to_string(), remedy);
        }
        if let Some(path) = &server.token_file
            && let Err(error) = read_token(path)
        {
            let remedy = "write an access token with the scope read_api there, in one line, for the proxy's user alone";
            add(
                path,
                format!("token_file of gitlab {}", server.host),
                error.to_string(),
                remedy,
            );
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{examine, read_token};
    use crate::fixture::gitlab;

    #[test]
    fn every_file_that_cannot_be_used_is_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let mut server = gitlab::server("https://gitlab.example.com");
        assert_eq!(examine(std::slice::from_ref(&server)), []);
        server.ca = Some(place("ca.pem"));
        server.token_file = Some(place("token"));
        let told = |server| {
            let faults = examine(std::slice::from_ref(server));
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            faults
                .join("\n")
                .replace(&directory.path().display().to_string(), "DIR")
        };
        insta::assert_snapshot!(told(&server), @r"
        DIR/ca.pem:1: ca of gitlab gitlab.example.com: No such file or directory (os error 2)
          remedy: write certificates in PEM there, or leave ca out if a public authority signed the server's
        DIR/token:1: token_file of gitlab gitlab.example.com: No such file or directory (os error 2)
          remedy: write an access token with the scope read_api there, in one line, for the proxy's user alone
        ");
        for (certificates, token) in [
            ("", ""),
            ("nonsense", "two words"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a\nb"),
            ("-----BEGIN CERTIFICATE-----\nAAAA", &*"x".repeat(5000)),
        ] {
            std::fs::write(place("ca.pem"), certificates).unwrap();
            std::fs::write(place("token"), token).unwrap();
            let told = told(&server);
            assert_eq!(told.matches("remedy").count(), 2, "{told}");
            assert!(token.is_empty() || !told.contains(token), "{told}");
        }
        std::fs::write(place("token"), " glpat-a_b-c\n").unwrap();
        let token = read_token(&place("token")).unwrap();
        assert_eq!(
            (token.reveal(), format!("{token:?}").as_str()),
            ("glpat-a_b-c", "**redacted**")
        );
    }
}
