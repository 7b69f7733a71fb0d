//! The table of keys: what may be in it, and its rotation.
#![allow(
    clippy::unwrap_used,
    reason = "the functions beside the tests are tests too"
)]

mod common;

use std::sync::Arc;

use common::{NOW, OTHER_SECRET, SECRET, issuer, part};
use flashsale_auth::{ConfigError, JwtConfig, JwtKey, JwtTokenIssuer};
use flashsale_core::domain::{Role, UserId};
use flashsale_core::ports::{InvalidToken, TokenIssuer};

fn issue(issuer: &JwtTokenIssuer) -> String {
    let user = UserId::new("42").unwrap();
    let issued = issuer.issue(&user, "ada", Role::Buyer, NOW);
    issued.unwrap().token
}

#[test]
fn a_rotated_key_verifies_while_it_is_in_the_table_and_not_after() {
    let issuer = issuer();
    let old = issue(&issuer);

    let (a, b) = (JwtKey::hs256("a", SECRET), JwtKey::hs256("b", OTHER_SECRET));
    issuer.rotate(vec![b.clone(), a]).unwrap();
    let new = issue(&issuer);
    assert_eq!(part(&new, 0)["kid"], "b");
    assert!(issuer.verify(&old, NOW).is_ok());
    assert!(issuer.verify(&new, NOW).is_ok());

    issuer.rotate(vec![b]).unwrap();
    assert_eq!(issuer.verify(&old, NOW), Err(InvalidToken));
    assert!(issuer.verify(&new, NOW).is_ok());
}

#[test]
fn a_new_secret_under_an_old_id_ends_the_old_tokens() {
    let issuer = issuer();
    let old = issue(&issuer);
    issuer
        .rotate(vec![JwtKey::hs256("a", OTHER_SECRET)])
        .unwrap();
    assert_eq!(issuer.verify(&old, NOW), Err(InvalidToken));
}

#[test]
fn a_rotation_that_fails_changes_nothing() {
    let issuer = issuer();
    let token = issue(&issuer);
    assert!(issuer.rotate(Vec::new()).is_err());
    assert!(issuer.rotate(vec![JwtKey::hs256("b", [1; 31])]).is_err());
    assert!(issuer.verify(&token, NOW).is_ok());
    assert_eq!(issue(&issuer), token);
}

#[test]
fn a_rotation_keeps_issuer_and_audience() {
    let config = JwtConfig {
        issuer: Some("shop".to_owned()),
        ..JwtConfig::new([JwtKey::hs256("a", SECRET)])
    };
    let strict = JwtTokenIssuer::new(config).unwrap();
    strict.rotate(vec![JwtKey::hs256("a", SECRET)]).unwrap();
    assert_eq!(part(&issue(&strict), 1)["iss"], "shop");
    assert!(strict.verify(&issue(&issuer()), NOW).is_err());
}

#[test]
fn tokens_stay_valid_while_other_threads_rotate() {
    let issuer = Arc::new(issuer());
    let token = issue(&issuer);
    let key = |kid: &str| JwtKey::hs256(kid, SECRET);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                issuer.rotate(vec![key("b"), key("a")]).unwrap();
                issuer.rotate(vec![key("a"), key("b")]).unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..500 {
                    assert!(issuer.verify(&token, NOW).is_ok());
                    assert!(issuer.verify(&issue(&issuer), NOW).is_ok());
                }
            });
        }
    });
}

#[test]
fn each_limit_of_a_key_holds_at_the_limit_and_one_past_it() {
    let fits = |key: JwtKey| JwtConfig::new([key]).validate().is_ok();
    for (len, fit) in [
        (0, false),
        (31, false),
        (32, true),
        (1_024, true),
        (1_025, false),
    ] {
        assert_eq!(
            fits(JwtKey::hs256("a", vec![7; len])),
            fit,
            "secret of {len}"
        );
    }
    for (len, fit) in [(0, false), (1, true), (64, true), (65, false)] {
        assert_eq!(
            fits(JwtKey::hs256("k".repeat(len), SECRET)),
            fit,
            "kid of {len}"
        );
    }
    for kid in ["a b", "ä", "a\n", "\u{0}"] {
        assert!(!fits(JwtKey::hs256(kid, SECRET)), "kid {kid:?}");
    }
}

#[test]
fn a_table_has_1_to_16_keys_with_different_ids() {
    let table = |count: usize| {
        let keys = (0..count).map(|n| JwtKey::hs256(n.to_string(), SECRET));
        JwtConfig::new(keys.collect::<Vec<_>>()).validate()
    };
    assert_eq!(table(0), Err(ConfigError::KeyCount { count: 0, max: 16 }));
    assert_eq!(table(1), Ok(()));
    assert_eq!(table(16), Ok(()));
    assert_eq!(table(17), Err(ConfigError::KeyCount { count: 17, max: 16 }));

    let twice = [JwtKey::hs256("a", SECRET), JwtKey::hs256("a", OTHER_SECRET)];
    let kid = "a".to_owned();
    assert_eq!(
        JwtConfig::new(twice).validate(),
        Err(ConfigError::KeyIdTwice { kid })
    );
}

#[test]
fn an_invalid_configuration_makes_no_issuer() {
    let short = JwtConfig::new([JwtKey::hs256("a", *b"short and secret")]);
    let error = JwtTokenIssuer::new(short).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"the secret of JWT key "a" must have 32 to 1024 bytes, but has 16"#
    );
}

#[test]
fn no_secret_shows_in_debug_output() {
    let secret = "correct horse battery staple 1234";
    let config = JwtConfig::new([JwtKey::hs256("a", secret)]);
    let shown = [
        format!("{:?}", config.keys[0]),
        format!("{config:?}"),
        format!("{config:#?}"),
        format!("{:?}", JwtTokenIssuer::new(config).unwrap()),
        format!(
            "{:?}",
            JwtConfig::new([JwtKey::hs256("a", "too short")]).validate()
        ),
    ];
    let as_bytes = format!("{:?}", secret.as_bytes());
    let as_bytes = as_bytes.trim_matches(['[', ']']);
    for text in shown {
        assert!(
            !text.contains("horse") && !text.contains("too short"),
            "{text}"
        );
        assert!(!text.contains(as_bytes), "{text}");
    }
}
