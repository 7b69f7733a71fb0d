//! Hashing and checking passwords.
#![allow(
    clippy::unwrap_used,
    reason = "the functions beside the tests are tests too"
)]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use flashsale_auth::{BcryptConfig, BcryptPasswordHasher};
use flashsale_core::ports::PasswordHasher;
use flashsale_core::{Effect, ErrorKind, PortError};
use tokio::runtime::{Builder, Runtime};

/// The cheapest cost there is.
const CHEAP: BcryptConfig = BcryptConfig {
    cost: 4,
    concurrency: 1,
    waiting_max: 2,
};

fn hasher() -> BcryptPasswordHasher {
    BcryptPasswordHasher::new(CHEAP).unwrap()
}

fn runtime() -> Runtime {
    // One blocking thread, so that a test can keep it.
    let mut builder = Builder::new_current_thread();
    builder.max_blocking_threads(1).build().unwrap()
}

/// Keeps the blocking thread of the runtime until the sender is dropped.
fn keep_blocking_thread() -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || released.recv());
    release
}

type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, PortError>> + Send + 'a>>;

/// Gives the call one chance to get on.
async fn poll_once<T>(call: &mut Call<'_, T>) -> Option<Result<T, PortError>> {
    poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn assert_busy<T: std::fmt::Debug>(result: Option<Result<T, PortError>>) {
    let error = result.expect("an answer at once").unwrap_err();
    assert_eq!(
        (error.kind(), error.effect()),
        (ErrorKind::Busy, Effect::None)
    );
}

#[tokio::test]
async fn a_password_matches_its_own_hash_only() {
    let hasher = hasher();
    for password in ["correct horse", "", "ä€😀", " blanks ", &"x".repeat(71)] {
        let hash = hasher.hash(password).await.unwrap();
        assert!(hasher.verify(password, Some(&hash)).await.unwrap());
        for other in ["correct horsf", "x", "\u{e4}"] {
            assert!(!hasher.verify(other, Some(&hash)).await.unwrap());
        }
    }
}

#[tokio::test]
async fn two_hashes_of_one_password_differ_and_have_the_configured_cost() {
    let hasher = hasher();
    let first = hasher.hash("correct horse").await.unwrap();
    let second = hasher.hash("correct horse").await.unwrap();
    assert_ne!(first, second);
    assert!(first.starts_with("$2b$04$") && second.starts_with("$2b$04$"));
}

#[tokio::test]
async fn a_password_of_71_bytes_counts_in_full_and_a_longer_one_is_refused() {
    let hasher = hasher();
    assert_eq!(hasher.password_max(), 71);
    let longest = "x".repeat(71);
    let hash = hasher.hash(&longest).await.unwrap();
    assert!(hasher.verify(&longest, Some(&hash)).await.unwrap());
    let last_differs = format!("{}y", "x".repeat(70));
    assert!(!hasher.verify(&last_differs, Some(&hash)).await.unwrap());

    for longer in [
        "x".repeat(72),
        format!("{}ä", "x".repeat(70)),
        "x".repeat(1_000_000),
    ] {
        let error = hasher.hash(&longer).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.effect()),
            (ErrorKind::Invalid, Effect::None)
        );
        assert!(!hasher.verify(&longer, Some(&hash)).await.unwrap());
        assert!(!hasher.verify(&longer, None).await.unwrap());
    }
}

#[tokio::test]
async fn a_password_with_a_nul_character_is_refused() {
    let hasher = hasher();
    let hash = hasher.hash("abc").await.unwrap();
    for password in ["\0", "abc\0", "abc\0def"] {
        let error = hasher.hash(password).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(!hasher.verify(password, Some(&hash)).await.unwrap());
        assert!(!hasher.verify(password, None).await.unwrap());
    }
}

#[tokio::test]
async fn an_unknown_user_is_refused_whatever_the_password() {
    let hasher = hasher();
    for password in ["", "correct horse", &"x".repeat(71)] {
        assert!(!hasher.verify(password, None).await.unwrap());
    }
}

#[tokio::test]
async fn hashes_of_other_programs_are_read() {
    // From the test vectors of crypt_blowfish and jBCrypt.
    let hasher = hasher();
    for (password, hash) in [
        (
            "U*U",
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        ),
        (
            "U*U*",
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK",
        ),
        (
            "",
            "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
        ),
    ] {
        // For passwords without bugs' marks the variants are one.
        for variant in ["$2a$", "$2b$", "$2x$", "$2y$"] {
            let hash = &hash.replacen("$2a$", variant, 1);
            assert!(hasher.verify(password, Some(hash)).await.unwrap(), "{hash}");
            assert!(!hasher.verify("other", Some(hash)).await.unwrap(), "{hash}");
        }
    }
}

#[tokio::test]
async fn a_hash_that_cannot_be_read_is_corrupt() {
    let hasher = hasher();
    let good = hasher.hash("correct horse").await.unwrap();
    let bad = [
        String::new(),
        "correct horse".to_owned(),
        good[..59].to_owned(),
        format!("{good}x"),
        good.replacen("$2b", "$9z", 1),
        good.replacen("$04", "$03", 1),
        good.replacen("$04", "$32", 1),
        good.replacen("$04", "$xx", 1),
        format!("{}!{}", &good[..30], &good[31..]),
        "ä".repeat(30),
        "\0".repeat(60),
        "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaaJObG".to_owned(),
        "5f4dcc3b5aa765d61d8327deb882cf99".to_owned(),
        "$1$salt$qJH7.N4xYta3aEG/dfqo/0".to_owned(),
    ];
    for hash in bad {
        let error = hasher
            .verify("correct horse", Some(&hash))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{hash:?}");
        assert_eq!((error.adapter(), error.operation()), ("auth", "verify"));
    }
}

#[test]
fn one_call_works_two_wait_and_one_more_fails_at_once() {
    runtime().block_on(async {
        let hasher = hasher();
        let release = keep_blocking_thread();
        let mut admitted = [hasher.hash("a"), hasher.hash("b"), hasher.hash("c")];
        for call in &mut admitted {
            assert!(poll_once(call).await.is_none());
        }
        assert_busy(poll_once(&mut hasher.hash("d")).await);
        assert_busy(poll_once(&mut hasher.verify("d", Some(&example_hash()))).await);

        drop(release);
        for call in admitted {
            call.await.unwrap();
        }
        hasher.hash("d").await.unwrap();
    });
}

/// A check without a hash goes the same way as one with a hash: it takes a turn, and fails when
/// too many wait.
#[test]
fn checking_an_unknown_user_takes_a_turn_too() {
    runtime().block_on(async {
        let hasher = hasher();
        let release = keep_blocking_thread();
        let mut admitted = [
            hasher.verify("a", None),
            hasher.verify("b", None),
            hasher.verify("c", None),
        ];
        for call in &mut admitted {
            assert!(poll_once(call).await.is_none());
        }
        assert_busy(poll_once(&mut hasher.verify("d", None)).await);

        drop(release);
        for call in admitted {
            assert!(!call.await.unwrap());
        }
    });
}

#[test]
fn a_dropped_call_frees_its_place() {
    runtime().block_on(async {
        let hasher = hasher();
        let release = keep_blocking_thread();
        let mut working = hasher.hash("a");
        let mut waiting = hasher.hash("b");
        let mut dropped = hasher.hash("c");
        for call in [&mut working, &mut waiting, &mut dropped] {
            assert!(poll_once(call).await.is_none());
        }
        assert_busy(poll_once(&mut hasher.hash("d")).await);
        drop(dropped);
        let mut instead = hasher.hash("d");
        assert!(poll_once(&mut instead).await.is_none());

        // Also the one whose turn it is; those behind it get on.
        drop(working);
        drop(release);
        waiting.await.unwrap();
        instead.await.unwrap();
    });
}

#[test]
fn as_many_work_at_a_time_as_configured() {
    runtime().block_on(async {
        let config = BcryptConfig {
            concurrency: 2,
            waiting_max: 0,
            ..CHEAP
        };
        let hasher = BcryptPasswordHasher::new(config).unwrap();
        let release = keep_blocking_thread();
        let mut admitted = [hasher.hash("a"), hasher.hash("b")];
        for call in &mut admitted {
            assert!(poll_once(call).await.is_none());
        }
        assert_busy(poll_once(&mut hasher.hash("c")).await);
        drop(release);
        for call in admitted {
            call.await.unwrap();
        }
    });
}

#[test]
fn without_a_runtime_the_message_says_so() {
    let hasher = hasher();
    let mut context = Context::from_waker(Waker::noop());
    let mut call = hasher.hash("a");
    let Poll::Ready(Err(error)) = call.as_mut().poll(&mut context) else {
        panic!("an error at once");
    };
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("runtime"), "{source}");
}

#[test]
fn an_invalid_configuration_makes_no_hasher() {
    let config = BcryptConfig { cost: 3, ..CHEAP };
    let error = BcryptPasswordHasher::new(config).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bcrypt cost must be from 4 to 31, but is 3"
    );
}

#[test]
fn no_hash_shows_in_debug_output() {
    assert!(!format!("{:?}", hasher()).contains("$2b$"));
}

fn example_hash() -> String {
    "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned()
}
