//! What tokens say, and which are refused.
#![allow(
    clippy::unwrap_used,
    reason = "the functions beside the tests are tests too"
)]

mod common;

use common::{
    NOW, NOW_S, OTHER_SECRET, SECRET, base64, claims, claims_with, header, issuer, part, token,
    token_of,
};
use flashsale_auth::{JwtConfig, JwtKey, JwtTokenIssuer};
use flashsale_core::ErrorKind;
use flashsale_core::domain::{Role, Timestamp, UserId};
use flashsale_core::ports::{Claims, InvalidToken, TokenIssuer};
use serde_json::{Value, json};

fn user() -> UserId {
    UserId::new("42").unwrap()
}

fn valid(token: &str) -> bool {
    issuer().verify(token, NOW).is_ok()
}

#[test]
fn an_issued_token_says_who_and_what() {
    let issuer = issuer();
    for role in [Role::Buyer, Role::Admin] {
        let issued = issuer.issue(&user(), "ada", role, NOW).unwrap();
        let claims = issuer.verify(&issued.token, NOW);
        assert_eq!(claims, Ok(Claims { user: user(), role }));
    }
}

#[test]
fn an_issued_token_carries_the_documented_claims() {
    let issuer = issuer();
    let buyer = issuer.issue(&user(), "ada", Role::Buyer, NOW).unwrap();
    assert_eq!(part(&buyer.token, 0), header());
    let exp = NOW_S + 86_400;
    assert_eq!(
        part(&buyer.token, 1),
        json!({"sub": "42", "userId": "42", "username": "ada", "iat": NOW_S, "exp": exp})
    );
    let admin = issuer.issue(&user(), "ada", Role::Admin, NOW).unwrap();
    assert_eq!(part(&admin.token, 1)["role"], "admin");
}

#[test]
fn a_token_made_elsewhere_with_our_secret_is_taken() {
    assert!(valid(&token(&header(), &claims())));
    let reordered = json!({"kid": "a", "alg": "HS256"});
    assert!(valid(&token(&reordered, &claims())));
}

#[test]
fn an_issued_token_is_valid_up_to_its_end_and_not_from_it_on() {
    let config = JwtConfig {
        expires_in_s: 1,
        ..JwtConfig::new([JwtKey::hs256("a", SECRET)])
    };
    let issuer = JwtTokenIssuer::new(config).unwrap();
    let issued = issuer.issue(&user(), "ada", Role::Buyer, NOW).unwrap();
    assert_eq!(issued.expires_at, NOW.plus_ms(6_000));
    let before = issued.expires_at.plus_ms(-1);
    assert!(issuer.verify(&issued.token, before).is_ok());
    assert!(issuer.verify(&issued.token, issued.expires_at).is_err());
}

#[test]
fn a_token_issued_within_a_second_is_valid_at_that_moment() {
    let config = JwtConfig {
        leeway_s: 0,
        ..JwtConfig::new([JwtKey::hs256("a", SECRET)])
    };
    let issuer = JwtTokenIssuer::new(config).unwrap();
    for millis in [1, 500, 999] {
        let now = NOW.plus_ms(millis);
        let issued = issuer.issue(&user(), "ada", Role::Buyer, now).unwrap();
        assert!(issuer.verify(&issued.token, now).is_ok(), "{millis} ms");
    }
}

#[test]
fn the_times_hold_to_the_millisecond_with_and_without_leeway() {
    for leeway_s in [0, 5] {
        let config = JwtConfig {
            leeway_s,
            ..JwtConfig::new([JwtKey::hs256("a", SECRET)])
        };
        let issuer = JwtTokenIssuer::new(config).unwrap();
        let leeway_ms = i64::from(leeway_s) * 1_000;
        let valid =
            |claims: &Value, at: Timestamp| issuer.verify(&token(&header(), claims), at).is_ok();

        let exp = claims_with("exp", json!(NOW_S));
        let exp = claims_with_all(&exp, "iat", json!(NOW_S - 60));
        assert!(valid(&exp, NOW.plus_ms(leeway_ms - 1)));
        assert!(!valid(&exp, NOW.plus_ms(leeway_ms)));

        for name in ["iat", "nbf"] {
            let claims = claims_with_all(&claims(), name, json!(NOW_S + 10));
            let claims = claims_with_all(&claims, "exp", json!(NOW_S + 60));
            let begin = NOW.plus_ms(10_000 - leeway_ms);
            assert!(!valid(&claims, begin.plus_ms(-1)), "{name}");
            assert!(valid(&claims, begin), "{name}");
        }
    }
}

fn claims_with_all(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

#[test]
fn fractions_of_a_second_count() {
    let token = token(&header(), &claims_with("exp", json!(NOW_S as f64 + 0.5)));
    assert!(issuer().verify(&token, NOW.plus_ms(5_499)).is_ok());
    assert!(issuer().verify(&token, NOW.plus_ms(5_500)).is_err());
}

#[test]
fn times_at_the_ends_of_the_range_do_no_harm() {
    let far = claims_with("exp", json!(u64::MAX));
    assert!(valid(&token(&header(), &far)));
    for exp in [json!(i64::MIN), json!(-1), json!(0), json!(-1e300)] {
        assert!(!valid(&token(&header(), &claims_with("exp", exp))));
    }
    assert!(valid(&token(&header(), &claims_with("exp", json!(1e300)))));
    for millis in [i64::MIN, -1, 0, i64::MAX] {
        let now = Timestamp::from_millis(millis);
        let issued = issuer().issue(&user(), "ada", Role::Buyer, now).unwrap();
        assert!(issuer().verify(&issued.token, issued.expires_at).is_err());
    }
}

#[test]
fn only_the_text_admin_makes_an_admin() {
    let role = |role: Value| {
        let token = token(&header(), &claims_with("role", role));
        issuer().verify(&token, NOW).unwrap().role
    };
    assert_eq!(role(json!("admin")), Role::Admin);
    for other in [
        json!("Admin"),
        json!("admin "),
        json!(""),
        json!("buyer"),
        json!(["admin"]),
        json!({"admin": true}),
        json!(true),
        json!(1),
        json!(-1),
        json!(0.5),
        Value::Null,
    ] {
        assert_eq!(role(other.clone()), Role::Buyer, "{other}");
    }
    let null = r#"{"sub":"42","exp":1900000060,"role":null}"#;
    let token = token_of(header().to_string(), null, &SECRET);
    assert_eq!(issuer().verify(&token, NOW).unwrap().role, Role::Buyer);
}

#[test]
fn what_is_no_token_is_refused() {
    let good = token(&header(), &claims());
    let parts: Vec<_> = good.split('.').collect();
    let [head, body, signature] = parts[..] else {
        panic!("three parts")
    };
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        "\u{0}".to_owned(),
        "ä.ö.ü".to_owned(),
        head.to_owned(),
        format!("{head}.{body}"),
        format!("{head}.{body}."),
        format!("{head}..{signature}"),
        format!(".{body}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{head}.{body}.{body}.{signature}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}="),
        format!("{good}\n"),
    ] {
        assert!(!valid(&bad), "{bad:?}");
    }
}

#[test]
fn a_token_cut_anywhere_is_refused() {
    let good = token(&header(), &claims());
    for len in 0..good.len() {
        assert!(!valid(&good[..len]), "cut to {len} bytes");
    }
}

#[test]
fn a_token_with_any_character_changed_is_refused() {
    let good = token(&header(), &claims());
    for index in 0..good.len() {
        let mut bad = good.clone().into_bytes();
        bad[index] = if bad[index] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bad).unwrap();
        assert!(!valid(&bad), "changed at {index}");
    }
}

#[test]
fn another_secret_is_refused() {
    let token = token_of(header().to_string(), claims().to_string(), &OTHER_SECRET);
    assert!(!valid(&token));
}

#[test]
fn every_other_algorithm_is_refused_whatever_the_signature() {
    for alg in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!(""),
        json!("hs256"),
        json!("HS384"),
        json!("HS512"),
        json!("RS256"),
        json!("PS256"),
        json!("ES256"),
        json!("EdDSA"),
        json!(null),
        json!(["HS256"]),
        json!(256),
    ] {
        for kid in [json!("a"), Value::Null] {
            let header = json!({"typ": "JWT", "alg": alg, "kid": kid});
            assert!(!valid(&token(&header, &claims())), "{header}");
            let unsigned = format!(
                "{}.{}.",
                base64(header.to_string()),
                base64(claims().to_string())
            );
            assert!(!valid(&unsigned), "{header}, unsigned");
        }
    }
    assert!(!valid(&token(&json!({"kid": "a"}), &claims())));
}

#[test]
fn an_unknown_key_id_is_refused_and_none_means_the_first_key() {
    for kid in [json!("b"), json!(""), json!("A"), json!("a "), json!(1)] {
        let header = json!({"alg": "HS256", "kid": kid});
        assert!(!valid(&token(&header, &claims())), "{header}");
    }
    assert!(valid(&token(&json!({"alg": "HS256"}), &claims())));
    let second = token_of(
        json!({"alg": "HS256"}).to_string(),
        claims().to_string(),
        &OTHER_SECRET,
    );
    let keys = [JwtKey::hs256("a", SECRET), JwtKey::hs256("b", OTHER_SECRET)];
    let issuer = JwtTokenIssuer::new(JwtConfig::new(keys)).unwrap();
    assert_eq!(issuer.verify(&second, NOW), Err(InvalidToken));
}

#[test]
fn a_header_with_extensions_that_must_be_understood_is_refused() {
    let header = json!({"alg": "HS256", "kid": "a", "crit": ["b64"], "b64": false});
    assert!(!valid(&token(&header, &claims())));
}

#[test]
fn a_token_without_an_end_is_refused() {
    for exp in [Value::Null, json!("1900000060"), json!(true), json!([1])] {
        assert!(
            !valid(&token(&header(), &claims_with("exp", exp.clone()))),
            "{exp}"
        );
    }
    let null = r#"{"sub":"42","exp":null}"#;
    assert!(!valid(&token_of(header().to_string(), null, &SECRET)));
    let twice = r#"{"sub":"42","exp":1,"exp":1900000060}"#;
    assert!(!valid(&token_of(header().to_string(), twice, &SECRET)));
    let infinite = r#"{"sub":"42","exp":1e999}"#;
    assert!(!valid(&token_of(header().to_string(), infinite, &SECRET)));
}

#[test]
fn a_beginning_that_is_no_number_is_refused() {
    for name in ["iat", "nbf"] {
        let claims = claims_with(name, json!("1900000000"));
        assert!(!valid(&token(&header(), &claims)), "{name}");
        let absent = claims_with(name, Value::Null);
        assert!(valid(&token(&header(), &absent)), "{name}");
    }
}

#[test]
fn a_token_without_a_user_of_ours_is_refused() {
    for sub in [
        Value::Null,
        json!(""),
        json!(" "),
        json!("a b"),
        json!("ä"),
        json!("\u{0}"),
        json!("x".repeat(65)),
        json!(42),
        json!(["42"]),
    ] {
        assert!(
            !valid(&token(&header(), &claims_with("sub", sub.clone()))),
            "{sub}"
        );
    }
    let longest = "x".repeat(64);
    let claims = claims_with("sub", json!(longest));
    let user = issuer()
        .verify(&token(&header(), &claims), NOW)
        .unwrap()
        .user;
    assert_eq!(user.as_str(), longest);
}

#[test]
fn a_token_of_a_service_that_writes_user_id_instead_of_sub_is_good_until_it_expires() {
    let header = json!({"alg": "HS256", "typ": "JWT"});
    for (user_id, user) in [
        (json!(42), "42"),
        (json!("42"), "42"),
        (json!("0b6e-ann"), "0b6e-ann"),
        (json!(0), "0"),
        (json!(u64::MAX), "18446744073709551615"),
    ] {
        for claims in [
            json!({"userId": user_id, "exp": NOW_S + 60}),
            json!({"userId": user_id, "username": "ann", "iat": NOW_S - 60, "exp": NOW_S + 60}),
            json!({"userId": user_id, "sub": null, "role": null, "exp": NOW_S + 60}),
        ] {
            let token = token(&header, &claims);
            let read = issuer().verify(&token, NOW).unwrap();
            assert_eq!((read.user.as_str(), read.role), (user, Role::Buyer));
            let end = NOW.plus_ms(65_000);
            assert!(issuer().verify(&token, end.plus_ms(-1)).is_ok());
            assert_eq!(issuer().verify(&token, end), Err(InvalidToken), "{claims}");
        }
        let claims = json!({"userId": user_id, "exp": NOW_S + 60});
        let forged = token_of(header.to_string(), claims.to_string(), &OTHER_SECRET);
        assert!(!valid(&forged));
        let endless = json!({"userId": user_id});
        assert!(!valid(&token(&header, &endless)));
    }
}

#[test]
fn a_user_id_that_is_none_counts_only_where_sub_is_missing() {
    for user_id in [
        json!(""),
        json!("a b"),
        json!("x".repeat(65)),
        json!(-1),
        json!(4.2),
        json!(42.0),
        json!(true),
        json!(null),
        json!(["42"]),
        json!({"id": 42}),
    ] {
        let alone = json!({"userId": user_id, "exp": NOW_S + 60});
        assert!(!valid(&token(&header(), &alone)), "{alone}");
        let beside = claims_with_all(&claims(), "userId", user_id);
        let read = issuer().verify(&token(&header(), &beside), NOW).unwrap();
        assert_eq!(read.user, user(), "{beside}");
    }
    let other = claims_with_all(&claims(), "userId", json!("7"));
    let read = issuer().verify(&token(&header(), &other), NOW).unwrap();
    assert_eq!(read.user, user());
}

#[test]
fn an_escaped_user_id_is_read_as_it_is_meant() {
    let claims = r#"{"sub":"\u0034\u0032","exp":1900000060}"#;
    let token = token_of(header().to_string(), claims, &SECRET);
    assert_eq!(issuer().verify(&token, NOW).unwrap().user, user());
}

#[test]
fn claims_that_are_no_json_object_in_utf_8_are_refused() {
    let header = header().to_string();
    for bad in [
        b"\xff\xfe".as_slice(),
        b"{\"sub\":\"4\xff2\",\"exp\":1900000060}",
        b"",
        b"null",
        b"42",
        b"[]",
        b"{}",
        b"{\"sub\":\"42\",\"exp\":1900000060",
        b"{\"sub\":\"42\",\"exp\":1900000060} x",
    ] {
        assert!(!valid(&token_of(&header, bad, &SECRET)), "{bad:?}");
    }
    assert!(!valid(&token_of(b"\xff", claims().to_string(), &SECRET)));
    assert!(!valid(&token_of(b"[]", claims().to_string(), &SECRET)));
}

#[test]
fn deep_nesting_does_no_harm() {
    let deep = format!(r#"{{"sub":"42","exp":1900000060,"x":{}"#, "[".repeat(2_000));
    assert!(!valid(&token_of(header().to_string(), deep, &SECRET)));
}

#[test]
fn a_token_of_4096_bytes_is_taken_and_a_longer_one_is_not() {
    // Base64 skips some lengths, so both the header and the claims are padded.
    let of_len = |len: usize| {
        let paddings = (0..4).flat_map(|head| (2_800..3_000).map(move |body| (head, body)));
        let tokens = paddings.map(|(head, body)| {
            let header = json!({"alg": "HS256", "kid": "a", "x": "x".repeat(head)});
            token(&header, &claims_with("x", json!("x".repeat(body))))
        });
        let mut fitting = tokens.filter(|token| token.len() == len);
        fitting.next().expect("a token of that length")
    };
    assert!(valid(&of_len(JwtTokenIssuer::TOKEN_MAX)));
    assert!(!valid(&of_len(JwtTokenIssuer::TOKEN_MAX + 1)));
    assert!(!valid(&"x".repeat(10_000_000)));
}

#[test]
fn a_token_that_would_be_refused_is_not_issued() {
    let username = "x".repeat(4_000);
    let error = issuer()
        .issue(&user(), &username, Role::Buyer, NOW)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!((error.adapter(), error.operation()), ("auth", "issue"));
}

#[test]
fn awkward_names_survive() {
    let username = "a\"b\\c\u{0}<ä>\u{1F600}";
    let issued = issuer().issue(&user(), username, Role::Buyer, NOW).unwrap();
    assert_eq!(part(&issued.token, 1)["username"], username);
    assert!(valid(&issued.token));
}

#[test]
fn a_configured_issuer_and_audience_are_written_and_demanded() {
    let config = JwtConfig {
        issuer: Some("shop".to_owned()),
        audience: Some("sale".to_owned()),
        ..JwtConfig::new([JwtKey::hs256("a", SECRET)])
    };
    let strict = JwtTokenIssuer::new(config).unwrap();
    let issued = strict.issue(&user(), "ada", Role::Buyer, NOW).unwrap();
    assert_eq!(part(&issued.token, 1)["iss"], "shop");
    assert_eq!(part(&issued.token, 1)["aud"], "sale");
    assert!(strict.verify(&issued.token, NOW).is_ok());

    let check = |iss: Value, aud: Value| {
        let claims = claims_with_all(&claims(), "iss", iss);
        let claims = claims_with_all(&claims, "aud", aud);
        strict.verify(&token(&header(), &claims), NOW).is_ok()
    };
    assert!(check(json!("shop"), json!(["other", "sale"])));
    assert!(!check(json!("other"), json!("sale")));
    assert!(!check(json!("shop"), json!("other")));
    assert!(!check(json!("shop"), json!([])));
    assert!(!check(json!("shop"), Value::Null));
    assert!(!check(Value::Null, json!("sale")));
    assert!(!check(json!(1), json!("sale")));
    assert!(!check(json!("shop"), json!(1)));
}

#[test]
fn a_token_for_another_audience_is_refused_by_who_has_none() {
    assert!(!valid(&token(
        &header(),
        &claims_with("aud", json!("other"))
    )));
    assert!(valid(&token(&header(), &claims_with("iss", json!("any")))));
}
