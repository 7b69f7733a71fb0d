use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use poem::http::{HeaderMap, HeaderName, HeaderValue};

/// Names a request in answers and logs.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const CALLER_ID_MAX: usize = 64;

/// Gives every request a name: the caller's, or one that no other request of ours has.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self {
            // The hasher's keys are random; that is all the randomness a log needs.
            process: RandomState::new().hash_one("request ids"),
            next: AtomicU64::new(1),
        }
    }

    /// The caller's `x-request-id` if it is 1 to 64 visible ASCII characters, else a new one.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(X_REQUEST_ID) {
            Some(id) if is_sane(id.as_bytes()) => id.clone(),
            _ => self.mint(),
        }
    }

    fn mint(&self) -> HeaderValue {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = [b'-'; 33];
        for place in 0..16 {
            let shift = 60 - 4 * place;
            text[place] = HEX[(self.process >> shift & 15) as usize];
            text[17 + place] = HEX[(number >> shift & 15) as usize];
        }
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text))
            .expect("hex digits are a valid header value")
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=CALLER_ID_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_ids_differ_and_would_be_taken_from_a_caller() {
        let ids = RequestIds::new();
        let (first, second) = (ids.mint(), ids.mint());
        assert_ne!(first, second);
        assert!(is_sane(first.as_bytes()));
    }
}
