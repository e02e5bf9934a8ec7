//! The signatures, judged by OpenSSL.

use std::path::Path;
use std::process::Command;

use super::*;

fn identity(signing: Signing, marker: Option<&str>) -> Identity {
    let mut world = World::default();
    world.instance.identity_signatures = signing;
    Identity::of(
        &world,
        &Seed::default(),
        marker,
        "2026-01-02T03:04:05Z".parse().unwrap(),
    )
}

#[expect(clippy::disallowed_methods, reason = "OpenSSL is the judge, named here only")]
fn openssl(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl judges the signatures: install it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

/// The commands of the AWS documentation, with the certificates of the test CA.
#[test]
fn openssl_verifies_every_signature_and_refuses_it_for_another_document() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    for (name, pem) in CERTIFICATES {
        write(&format!("{name}.pem"), pem.as_bytes());
    }
    let identity = identity(Signing::TestCa, Some("MARKERMARKERMARK"));
    write("document", identity.document().as_bytes());
    write("other", identity.document().replace("m5.large", "m5.hugex").as_bytes());
    for form in [Form::Pkcs7, Form::Rsa2048, Form::Dsa2048] {
        let name = form.name();
        let text = identity.signature(form);
        let body = String::from_utf8(text.to_vec()).unwrap();
        write(
            name,
            format!("-----BEGIN PKCS7-----\n{body}\n-----END PKCS7-----\n").as_bytes(),
        );
        let certificate = format!("{name}.pem");
        let verify = |content: &str, trust: &[&str]| {
            let common = [
                "smime",
                "-verify",
                "-in",
                name,
                "-inform",
                "PEM",
                "-content",
                content,
                "-certfile",
                &certificate,
            ];
            openssl(folder.path(), &[&common, trust].concat())
        };
        assert!(
            verify("document", &["-noverify"]).0,
            "{name}: {}",
            verify("document", &["-noverify"]).1
        );
        let trusting = verify("document", &["-CAfile", "ca.pem", "-purpose", "any"]);
        assert!(trusting.0, "{name}: {}", trusting.1);
        assert!(!verify("other", &["-noverify"]).0, "{name}");
        // Vault and others take the document out of the envelope.
        let inside = openssl(
            folder.path(),
            &[
                "smime",
                "-verify",
                "-in",
                name,
                "-inform",
                "PEM",
                "-certfile",
                &certificate,
                "-noverify",
            ],
        );
        assert!(
            inside.1.replace('\r', "").contains(identity.document()),
            "{name}: {}",
            inside.1
        );
    }
    let body: String = String::from_utf8_lossy(&identity.signature(Form::Signature))
        .lines()
        .collect();
    write("signature", &STANDARD.decode(body).unwrap());
    openssl(
        folder.path(),
        &["x509", "-pubkey", "-noout", "-in", "signature.pem", "-out", "key"],
    );
    let verify = |content| {
        openssl(
            folder.path(),
            &["dgst", "-sha256", "-verify", "key", "-signature", "signature", content],
        )
    };
    assert!(verify("document").0, "{}", verify("document").1);
    assert!(!verify("other").0);
}

#[test]
fn signatures_begin_as_captured_ones_and_have_lines_of_76() {
    let identity = identity(Signing::TestCa, None);
    for (form, start) in [
        (
            Form::Pkcs7,
            "MIAGCSqGSIb3DQEHAqCAMIACAQExCzAJBgUrDgMCGgUAMIAGCSqGSIb3DQEHAaCAJIAEgg",
        ),
        (
            Form::Rsa2048,
            "MIAGCSqGSIb3DQEHAqCAMIACAQExDzANBglghkgBZQMEAgEFADCABgkqhkiG9w0BBwGggCSABI",
        ),
        (Form::Dsa2048, "MIAGCSqGSIb3DQEHAqCAMIACAQExDzAN"),
    ] {
        let text = identity.signature(form);
        assert!(text.starts_with(start.as_bytes()), "{text:?}");
    }
    for form in Form::ALL {
        let text = String::from_utf8(identity.signature(form).to_vec()).unwrap();
        let (last, full) = text
            .lines()
            .collect::<Vec<_>>()
            .split_last()
            .map(|(last, full)| (last.len(), full.len()))
            .unwrap();
        assert!(last <= LINE && full > 0 && text.lines().take(full).all(|line| line.len() == LINE));
        assert_eq!(identity.signature(form), identity.clone().signature(form));
    }
    assert_eq!(identity.signature(Form::Signature).len(), 172 + 2);
}

#[test]
fn a_marked_signature_has_its_marker_in_one_line() {
    let identity = identity(Signing::Marked, Some("MARKERMARKERMARK"));
    for form in Form::ALL {
        let text = String::from_utf8(identity.signature(form).to_vec()).unwrap();
        assert!(
            text.contains("MARKERMARKERMARK") && text.lines().all(|line| line.len() <= LINE),
            "{text}"
        );
    }
}
