//! What an attacker makes of an ID token without its issuer's key. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What stands in a token for a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal<'a> {
    /// The signature of another token.
    Of(&'a str),
    /// Nothing.
    Nobody,
    /// An HMAC whose secret is what everybody knows: the modulus of the published key, as its JSON Web Key writes it.
    PublicKey(&'a str),
}

/// The token with another seal. A text that is no token stays what it is.
pub fn reseal(token: &str, seal: Seal<'_>) -> String {
    let Some((message, _)) = token.rsplit_once('.') else {
        return token.to_owned();
    };
    let signature = match seal {
        Seal::Of(other) => other.rsplit('.').next().unwrap_or_default().to_owned(),
        Seal::Nobody => String::new(),
        Seal::PublicKey(modulus) => hmac(modulus.as_bytes(), message.as_bytes()),
    };
    format!("{message}.{signature}")
}

/// Seconds between a token's `iat` and `exp`; `None` where it has not both.
pub fn lifetime(token: &str) -> Option<i64> {
    let payload = token.split('.').nth(1)?;
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let seconds = |name: &str| claims.get(name).and_then(serde_json::Value::as_i64);
    seconds("exp")?.checked_sub(seconds("iat")?)
}

fn hmac(secret: &[u8], message: &[u8]) -> String {
    // An HMAC takes a secret of any length.
    Hmac::<Sha256>::new_from_slice(secret).map_or_else(
        |_| String::new(),
        |mut mac| {
            mac.update(message);
            URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_stays_and_the_seal_changes() {
        assert_eq!(reseal("head.body.old", Seal::Nobody), "head.body.");
        assert_eq!(reseal("head.body.old", Seal::Of("a.b.new")), "head.body.new");
        // RFC 7515, appendix A.1: the key, header and payload of its example.
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        assert_eq!(
            hmac(&key, message.as_bytes()),
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
        assert_eq!(reseal("no token", Seal::Nobody), "no token");
    }

    #[test]
    fn a_token_lives_from_iat_to_exp() {
        let token = |claims: &str| format!("x.{}.y", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(lifetime(&token(r#"{"iat":10,"exp":310}"#)), Some(300));
        assert_eq!(lifetime(&token(r#"{"exp":310}"#)), None);
        assert_eq!(lifetime("x"), None);
    }
}
