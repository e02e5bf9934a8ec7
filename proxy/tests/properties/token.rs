//! Session tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use metadata_proxy::caller::Run;
use metadata_proxy::policy::Edition;
use metadata_proxy::token::{NONCE_BYTES, TTL_MAX, TokenFault, Tokens, parse_ttl};

use crate::world::facts;

const NOW: u64 = 1_800_000_000;
/// Who knows the key makes good tokens: it is here so that the seeds hold some, and theirs can be tampered with.
const KEY: [u8; 32] = [7; 32];

/// A text that is accepted is, byte for byte, what was minted for this very run; everything that is one byte away from it is not.
pub(crate) fn check(bytes: &[u8]) {
    let tokens = Tokens::new(KEY);
    let run = facts().run;
    if let Ok(text) = std::str::from_utf8(bytes) {
        check_ttl(text);
        if let Some(left) = verify(&tokens, &run, text) {
            // Its own words say when it ends and what was random about it: minted again, it is the same.
            let decoded = URL_SAFE.decode(text).unwrap();
            let nonce: [u8; NONCE_BYTES] = decoded[8..16].try_into().unwrap();
            let minted = tokens.mint(&run, Edition::FIRST, left, NOW, nonce);
            assert_eq!(minted, text);
            let others = [
                Run {
                    cgroup_id: 4243,
                    ..run.clone()
                },
                Run {
                    container_id: "b".repeat(64),
                    ..run.clone()
                },
                Run {
                    started_at: "2027-01-15T07:59:00.6Z".to_owned(),
                    ..run.clone()
                },
            ];
            for other in &others {
                let verified = tokens.verify(other, Edition::FIRST, text, NOW);
                assert_eq!(verified, Err(TokenFault::Invalid));
            }
            assert_eq!(verify(&Tokens::new([8; 32]), &run, text), None);
        }
    }
    // The same bytes once more, as places of a good token and what is written there.
    let good = tokens.mint(&run, Edition::FIRST, 60, NOW, [9; NONCE_BYTES]);
    let mut tampered = good.clone().into_bytes();
    for edit in bytes.chunks_exact(2).take(8) {
        let at = usize::from(edit[0]) % tampered.len();
        tampered[at] = edit[1];
    }
    if let Ok(text) = std::str::from_utf8(&tampered) {
        assert_eq!(verify(&tokens, &run, text), (text == good).then_some(60), "{text}");
    }
}

fn verify(tokens: &Tokens, run: &Run, text: &str) -> Option<u32> {
    tokens.verify(run, Edition::FIRST, text, NOW).ok()
}

fn check_ttl(text: &str) {
    let plain = |ttl: &u32| (1..=TTL_MAX).contains(ttl) && ttl.to_string() == text;
    assert_eq!(parse_ttl(text), text.parse().ok().filter(plain));
}
