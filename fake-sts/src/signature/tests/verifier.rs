//! What an independent verifier says of a request: scratchstack-aws-signature, which was written from observations of AWS and shares no
//! line with this crate, nor with AWS's signer.

use bytes::Bytes;
use scratchstack_aws_signature::{
    GetSigningKeyRequest, GetSigningKeyResponse, KSecretKey, NO_ADDITIONAL_SIGNED_HEADERS, SignatureError,
    SignatureOptions, service_for_signing_key_fn, sigv4_validate_request,
};

use crate::request::Request;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// For whom it judges: one key, one service, one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verifier {
    pub(super) key: &'static str,
    pub(super) secret: &'static str,
    pub(super) region: &'static str,
    pub(super) service: &'static str,
    /// RFC 3339
    pub(super) now: &'static str,
    /// Whether paths are normalised, as every service but S3 does.
    pub(super) normalises: bool,
}

impl Verifier {
    /// Its verdict, with its text; `None` where the request cannot be put to it, since its HTTP library does not take it.
    pub(super) fn judge(self, request: &Request) -> Option<Result<(), String>> {
        let query = request
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let mut built = http::Request::builder()
            .method(request.method.as_str())
            .uri(format!("{}{query}", request.path.replace(' ', "%20")));
        for (name, value) in &request.headers {
            built = built.header(name, value.trim());
        }
        let built = built.body(Bytes::clone(&request.body)).ok()?;
        let find = move |asked: GetSigningKeyRequest| std::future::ready(self.find(&asked));
        let mut keys = service_for_signing_key_fn(find);
        let options = SignatureOptions {
            s3: !self.normalises,
            url_encode_form: false,
        };
        let verdict = sigv4_validate_request(
            built,
            self.region,
            self.service,
            &mut keys,
            self.now.parse().unwrap(),
            &NO_ADDITIONAL_SIGNED_HEADERS,
            options,
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let verdict = runtime.block_on(verdict);
        Some(verdict.map(|_| ()).map_err(|error| {
            let text = error.to_string();
            // It adds what the header began with, as some other services of AWS do.
            let (text, _) = text.split_once(" Authorization=").unwrap_or((&text, ""));
            text.to_owned()
        }))
    }

    fn find(self, asked: &GetSigningKeyRequest) -> Result<GetSigningKeyResponse, BoxError> {
        if asked.access_key() != self.key {
            return Err(SignatureError::InvalidClientTokenId("another key".to_owned()).into());
        }
        let secret: KSecretKey = self.secret.parse()?;
        let signing_key = secret.to_ksigning(asked.request_date(), asked.region(), asked.service());
        Ok(GetSigningKeyResponse::builder().signing_key(signing_key).build()?)
    }
}
