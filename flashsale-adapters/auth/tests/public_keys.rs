//! Keys whose private half is elsewhere.
#![cfg(any(feature = "eddsa", feature = "rs256"))]
#![allow(
    clippy::unwrap_used,
    reason = "the functions beside the tests are tests too"
)]

mod common;

#[cfg(feature = "eddsa")]
mod ed25519 {
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    use ed25519_dalek::pkcs8::{EncodePrivateKey, EncodePublicKey};
    use ed25519_dalek::{Signer, SigningKey};
    use flashsale_auth::{ConfigError, JwtAlgorithm, JwtConfig, JwtKey, JwtTokenIssuer};
    use flashsale_core::ErrorKind;
    use flashsale_core::domain::{Role, UserId};
    use flashsale_core::ports::{InvalidToken, TokenIssuer};
    use serde_json::{Value, json};

    use super::common::{NOW, SECRET, base64, claims, header, hs256, token};

    fn pair() -> SigningKey {
        SigningKey::from_bytes(&[9; 32])
    }

    fn private_key() -> JwtKey {
        let pem = pair().to_pkcs8_pem(LineEnding::LF).unwrap();
        JwtKey::ed25519_private("ed", pem.as_str())
    }

    fn public_pem() -> String {
        let public = pair().verifying_key();
        public.to_public_key_pem(LineEnding::LF).unwrap()
    }

    fn verifier() -> JwtTokenIssuer {
        let key = JwtKey::ed25519_public("ed", public_pem());
        JwtTokenIssuer::new(JwtConfig::new([key])).unwrap()
    }

    fn message(header: &Value) -> String {
        let (header, claims) = (header.to_string(), claims().to_string());
        format!("{}.{}", base64(header), base64(claims))
    }

    fn user() -> UserId {
        UserId::new("42").unwrap()
    }

    #[test]
    fn what_the_private_key_signs_the_public_key_verifies() {
        let signer = JwtTokenIssuer::new(JwtConfig::new([private_key()])).unwrap();
        let issued = signer.issue(&user(), "ada", Role::Admin, NOW).unwrap();
        for issuer in [signer, verifier()] {
            let claims = issuer.verify(&issued.token, NOW).unwrap();
            assert_eq!((claims.user, claims.role), (user(), Role::Admin));
        }
    }

    #[test]
    fn a_token_signed_elsewhere_is_taken_and_a_changed_one_is_not() {
        let message = message(&json!({"alg": "EdDSA", "kid": "ed"}));
        let mut signature = pair().sign(message.as_bytes()).to_bytes();
        let token = format!("{message}.{}", base64(signature));
        assert!(verifier().verify(&token, NOW).is_ok());
        for index in 0..signature.len() {
            signature[index] ^= 1;
            let token = format!("{message}.{}", base64(signature));
            assert_eq!(verifier().verify(&token, NOW), Err(InvalidToken));
            signature[index] ^= 1;
        }
        for len in 0..signature.len() {
            let token = format!("{message}.{}", base64(&signature[..len]));
            assert_eq!(verifier().verify(&token, NOW), Err(InvalidToken));
        }
    }

    /// The classic forgery: a public key is public, so anybody can compute an HMAC with it.
    #[test]
    fn an_hmac_with_the_public_key_as_secret_is_refused() {
        let pem = public_pem();
        let bytes = pair().verifying_key().to_bytes();
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &bytes] {
            for header in [
                json!({"alg": "HS256", "kid": "ed"}),
                json!({"alg": "HS256"}),
            ] {
                let message = message(&header);
                let token = format!("{message}.{}", base64(hs256(&message, secret)));
                assert_eq!(verifier().verify(&token, NOW), Err(InvalidToken));
            }
        }
    }

    #[test]
    fn each_key_takes_its_own_algorithm_only() {
        let keys = [JwtKey::hs256("a", SECRET), private_key()];
        let issuer = JwtTokenIssuer::new(JwtConfig::new(keys)).unwrap();
        assert!(issuer.verify(&token(&header(), &claims()), NOW).is_ok());

        let other_kid = message(&json!({"alg": "EdDSA", "kid": "a"}));
        let signature = pair().sign(other_kid.as_bytes()).to_bytes();
        let token = format!("{other_kid}.{}", base64(signature));
        assert_eq!(issuer.verify(&token, NOW), Err(InvalidToken));

        let other_alg = message(&json!({"alg": "HS256", "kid": "ed"}));
        let token = format!("{other_alg}.{}", base64(hs256(&other_alg, &SECRET)));
        assert_eq!(issuer.verify(&token, NOW), Err(InvalidToken));
    }

    #[test]
    fn a_public_key_does_not_sign() {
        let error = verifier()
            .issue(&user(), "ada", Role::Buyer, NOW)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
    }

    #[test]
    fn a_key_that_cannot_be_read_or_is_weak_is_refused() {
        // The neutral element of the curve: every signature can be made to fit it.
        let mut weak = [0; 32];
        weak[0] = 1;
        let weak = ed25519_dalek::VerifyingKey::from_bytes(&weak).unwrap();
        let weak = weak.to_public_key_pem(LineEnding::LF).unwrap();
        let private = pair().to_pkcs8_pem(LineEnding::LF).unwrap();
        for key in [
            JwtKey::ed25519_public("ed", ""),
            JwtKey::ed25519_public("ed", "garbage"),
            JwtKey::ed25519_public("ed", private.as_str()),
            JwtKey::ed25519_public("ed", weak),
            JwtKey::ed25519_private("ed", public_pem()),
            JwtKey::ed25519_private("ed", &private[..60]),
        ] {
            let result = JwtConfig::new([key]).validate();
            assert!(
                matches!(result, Err(ConfigError::KeyUnusable { .. })),
                "{result:?}"
            );
        }
    }

    #[test]
    fn no_private_key_shows_in_debug_output() {
        let config = JwtConfig::new([private_key()]);
        assert_eq!(config.keys[0].algorithm(), JwtAlgorithm::Ed25519);
        let shown = format!(
            "{config:?}{:?}",
            JwtTokenIssuer::new(config.clone()).unwrap()
        );
        assert!(
            !shown.contains("PRIVATE") && !shown.contains("MC4CAQ"),
            "{shown}"
        );
    }
}

#[cfg(feature = "rs256")]
mod rsa {
    use flashsale_auth::{ConfigError, JwtConfig, JwtKey, JwtTokenIssuer};
    use flashsale_core::domain::Role;
    use flashsale_core::ports::{InvalidToken, TokenIssuer};
    use serde_json::json;

    use super::common::{NOW, base64, claims, hs256};

    // Made with OpenSSL for this test; nobody has the private key any more.
    const PUBLIC_PEM: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0ZoWeD4jTUnEDszr9XUA
PGiwQzoc+MRXe1fXfKFESYWcV0NIR3d6JeupcecL4LVrtSPMdPJD4JOrtNMvtqQz
TY53laz7KpCEFjgj7PPaQGEo7/OeWRGaOnWLW8530ayHyR4RV/tAgkG3ToemOcRX
8V/hLEa0JZiqIyZjue4939P80Ox6ahLTpGER9V/yZM+7copYzrNqptpZYDGbfYH2
thDVDUCa5s4LzQ4uVgpX8cKqLLW0nola825OFMoCZLBaiYQa3vy7+CZyiIpXsH98
IZjCejaZEXApG4O2NjrJlOCjYOoWfkMisO/s3wcjtYUtUxcEjz5lQf0MK0nn5vKw
vQIDAQAB
-----END PUBLIC KEY-----
";
    const SHORT_PUBLIC_PEM: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC1kdQsaDVAs+lqsSyN2exynT9e
EsWy/mU7J3g7Epy70rsXsw/lsDM9eoM8qIYFOmaEHn/t2mIU2ngnaSRxPy7NYBP9
hjlgr71cllKh26oyut8V1Sno6xm3/AIwwWaGp6OyHKfZJnSxVtN7UJ7APBdw1zYk
T2/vbH37DkOIL+Yc7wIDAQAB
-----END PUBLIC KEY-----
";
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImlkcCJ9.eyJzdWIiOiI0MiIsInJvbGUiOiJhZG1pbiIsImlhdCI6MTkwMDAwMDAwMCwiZXhwIjoxOTAwMDAzNjAwfQ.q6xIy3AlZQBG2FyLkoA-pTosJtuQU8Gy_bltEiUBXSk4OAsm4vyZ952IzYUvRse0KkwCEL7vJiZhbsYxlQevMLNKPu7iyTE1Tx-Yni4eIeGZs1B_mAYEWcpLHVskKj292o6gsmZktBbhTCNehlhtdDeL3Lc_i1NEosvKEilYZlnE45T-5BnO-W88VaYNKTigrru_wR_msKkE0NJ9tGziZJD06i6nPw5WzRTGu3Zvk58wyQonaCgVUQd-nWbJAAozVBGVN9PYIMi7CCY_8gmxqjLuX3SJC9USMMY9QlFz5LVIkulLv4Y-7JTMZeZhCq8hYK0_DESoYKJtbnH2t34p2w";

    fn verifier() -> JwtTokenIssuer {
        let key = JwtKey::rs256_public("idp", PUBLIC_PEM);
        JwtTokenIssuer::new(JwtConfig::new([key])).unwrap()
    }

    #[test]
    fn a_token_of_an_identity_provider_is_taken() {
        let claims = verifier().verify(TOKEN, NOW).unwrap();
        assert_eq!((claims.user.as_str(), claims.role), ("42", Role::Admin));
    }

    #[test]
    fn a_changed_one_is_refused() {
        let changed = TOKEN.replace(".q6x", ".q6y");
        assert_eq!(verifier().verify(&changed, NOW), Err(InvalidToken));
    }

    #[test]
    fn an_hmac_with_the_public_key_as_secret_is_refused() {
        let header = base64(json!({"alg": "HS256", "kid": "idp"}).to_string());
        let message = format!("{header}.{}", base64(claims().to_string()));
        let signature = base64(hs256(&message, PUBLIC_PEM.as_bytes()));
        let token = format!("{message}.{signature}");
        assert_eq!(verifier().verify(&token, NOW), Err(InvalidToken));
    }

    #[test]
    fn a_key_that_cannot_be_read_or_is_short_is_refused() {
        for pem in ["", "garbage", &PUBLIC_PEM[..200], SHORT_PUBLIC_PEM] {
            let result = JwtConfig::new([JwtKey::rs256_public("idp", pem)]).validate();
            assert!(
                matches!(result, Err(ConfigError::KeyUnusable { .. })),
                "{result:?}"
            );
        }
    }
}
