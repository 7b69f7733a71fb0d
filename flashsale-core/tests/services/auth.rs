use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use flashsale_core::PortError;
use flashsale_core::domain::{NewUser, Role};
use flashsale_core::ports::{CreateUserOutcome, InvalidToken, PasswordHasher};
use flashsale_core::services::{AuthService, Field, LoginOutcome, RegisterOutcome, Registration};
use flashsale_core::testing::{
    ManualClock, MemoryTokenIssuer, MemoryUserRepo, PlainPasswordHasher,
};

use crate::shop::START;

fn auth() -> (AuthService, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START));
    let service = AuthService {
        users: Arc::new(MemoryUserRepo::default()),
        hasher: Arc::new(PlainPasswordHasher),
        tokens: Arc::new(MemoryTokenIssuer::default()),
        clock: clock.clone(),
    };
    (service, clock)
}

/// Counts how often a password is checked.
#[derive(Debug, Default)]
struct Counting(AtomicU32);

impl Counting {
    fn checks(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl PasswordHasher for Counting {
    fn password_max(&self) -> usize {
        PlainPasswordHasher.password_max()
    }

    async fn hash(&self, password: &str) -> Result<String, PortError> {
        PlainPasswordHasher.hash(password).await
    }

    async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, PortError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        PlainPasswordHasher.verify(password, hash).await
    }
}

fn counting_auth() -> (AuthService, Arc<Counting>) {
    let counting = Arc::new(Counting::default());
    let (mut auth, _) = auth();
    auth.hasher = counting.clone();
    (auth, counting)
}

fn ann() -> Registration {
    Registration {
        username: "ann".to_owned(),
        email: "ann@example.org".to_owned(),
        password: "secret".to_owned(),
        full_name: None,
        role: Role::Buyer,
    }
}

#[tokio::test]
async fn a_registered_user_logs_in_and_is_known_by_the_token() {
    let (auth, clock) = auth();
    let RegisterOutcome::Registered(user) = auth.register(ann()).await.unwrap() else {
        panic!("ann must be registered");
    };
    assert!(!format!("{:?} {user:?}", ann()).contains("secret"));
    let LoginOutcome::LoggedIn(success) = auth.login("Ann", "secret").await.unwrap() else {
        panic!("ann must be let in");
    };
    assert_eq!(success.user, user.id);
    let claims = auth.verify(&success.token.token).unwrap();
    assert_eq!((claims.user, claims.role), (user.id, Role::Buyer));
    clock.set(success.token.expires_at);
    assert_eq!(auth.verify(&success.token.token), Err(InvalidToken));
}

#[tokio::test]
async fn every_field_has_its_rule() {
    let (auth, _) = auth();
    let with = |change: fn(&mut Registration)| {
        let mut request = ann();
        change(&mut request);
        request
    };
    let bad = [
        (Field::Username, with(|w| w.username = "an".to_owned())),
        (Field::Username, with(|w| w.username = "x".repeat(65))),
        (Field::Username, with(|w| w.username = "an n".to_owned())),
        (Field::Username, with(|w| w.username = "ann\n".to_owned())),
        (Field::Username, with(|w| w.username = String::new())),
        (Field::Email, with(|w| w.email = "ann".to_owned())),
        (Field::Email, with(|w| w.email = "@example.org".to_owned())),
        (Field::Email, with(|w| w.email = "ann@".to_owned())),
        (Field::Email, with(|w| w.email = "a@b@c".to_owned())),
        (
            Field::Email,
            with(|w| w.email = "a n@example.org".to_owned()),
        ),
        (
            Field::Email,
            with(|w| w.email = format!("{}@e.org", "x".repeat(249))),
        ),
        (Field::Password, with(|w| w.password = "12345".to_owned())),
        (Field::Password, with(|w| w.password = "x".repeat(73))),
        (
            Field::Password,
            with(|w| w.password = "secret\0".to_owned()),
        ),
        (
            Field::FullName,
            with(|w| w.full_name = Some("x".repeat(201))),
        ),
        (
            Field::FullName,
            with(|w| w.full_name = Some("a\tb".to_owned())),
        ),
    ];
    for (field, request) in bad {
        let outcome = auth.register(request.clone()).await.unwrap();
        let RegisterOutcome::Invalid(invalid) = outcome else {
            panic!("{request:?} must be invalid, is {outcome:?}");
        };
        assert_eq!(invalid.field, field, "{request:?}");
        assert!(!invalid.rule.is_empty());
    }
    assert_eq!(auth.users.find_by_username("ann").await.unwrap(), None);
}

#[tokio::test]
async fn what_just_fits_is_taken() {
    let (auth, _) = auth();
    let shortest = Registration {
        username: "äöü".to_owned(),
        email: "a@b".to_owned(),
        password: "123456".to_owned(),
        ..ann()
    };
    let longest = Registration {
        username: "x".repeat(64),
        email: format!("{}@e.org", "x".repeat(248)),
        password: "x".repeat(72),
        full_name: Some("ß".repeat(200)),
        ..ann()
    };
    for request in [shortest, longest] {
        let outcome = auth.register(request).await.unwrap();
        assert!(
            matches!(outcome, RegisterOutcome::Registered(_)),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_taken_name_or_address_is_told() {
    let (auth, _) = auth();
    auth.register(ann()).await.unwrap();
    let same_name = Registration {
        username: "ANN".to_owned(),
        email: "other@example.org".to_owned(),
        ..ann()
    };
    let outcome = auth.register(same_name).await.unwrap();
    assert_eq!(outcome, RegisterOutcome::UsernameTaken);
    let same_address = Registration {
        username: "bob".to_owned(),
        email: "Ann@Example.org".to_owned(),
        ..ann()
    };
    let outcome = auth.register(same_address).await.unwrap();
    assert_eq!(outcome, RegisterOutcome::EmailTaken);
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_get_the_same_answer() {
    let (auth, _) = auth();
    auth.register(ann()).await.unwrap();
    for (username, password) in [("ann", "Secret"), ("ann", ""), ("bob", "secret"), ("", "")] {
        let outcome = auth.login(username, password).await.unwrap();
        assert_eq!(outcome, LoginOutcome::InvalidCredentials);
    }
    assert_eq!(auth.verify("nonsense"), Err(InvalidToken));
}

#[tokio::test]
async fn who_has_a_hash_of_another_kind_does_not_get_in_and_costs_a_check_too() {
    let (auth, counting) = counting_auth();
    let new = NewUser {
        username: "ann".to_owned(),
        email: "ann@example.org".to_owned(),
        full_name: None,
        password_hash: "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub".to_owned(),
        role: Role::Buyer,
    };
    let CreateUserOutcome::Created(user) = auth.users.create(&new).await.unwrap() else {
        panic!("ann must be created");
    };
    for password in ["secret", "", new.password_hash.as_str()] {
        let before = counting.checks();
        let outcome = auth.login("ann", password).await.unwrap();
        assert_eq!(outcome, LoginOutcome::HashUnreadable(user.id.clone()));
        // The one that fails at once, and one against no hash.
        assert_eq!(counting.checks() - before, 2);
    }
}

#[tokio::test]
async fn an_unknown_user_costs_a_check_too() {
    let (auth, counting) = counting_auth();
    auth.register(ann()).await.unwrap();
    auth.login("ann", "wrong").await.unwrap();
    auth.login("bob", "wrong").await.unwrap();
    assert_eq!(counting.checks(), 2);
}
