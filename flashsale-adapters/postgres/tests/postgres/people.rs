//! Names without regard to the case of ASCII letters, and of no others.

use flashsale_core::domain::{NewUser, Role};
use flashsale_core::ports::{CreateUserOutcome, UserRepo};
use flashsale_core::testing::Seeded;
use flashsale_core::{Effect, ErrorKind};

use crate::shop;

fn new(username: &str, email: &str) -> NewUser {
    NewUser {
        username: username.to_owned(),
        email: email.to_owned(),
        full_name: None,
        password_hash: "$2b$".to_owned(),
        role: Role::Buyer,
    }
}

/// Databases that fold letters in other ways.
async fn databases() -> Vec<flashsale_postgres::PostgresDatabase> {
    let mut databases = Vec::new();
    for locale in [
        "LOCALE 'C'",
        "LOCALE 'C.UTF-8'",
        "LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'",
        "LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR'",
    ] {
        let name = format!("people_{}", shop::number());
        let url = shop::SERVER.url();
        let sql = format!("CREATE DATABASE {name} ENCODING 'UTF8' {locale} TEMPLATE template0");
        shop::psql(&url, &sql);
        let database = shop::database(shop::named(&url, &name));
        database.migrate().await.unwrap();
        databases.push(database);
    }
    databases
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_case_of_ascii_letters_is_disregarded() {
    for database in databases().await {
        let users = database.users();
        // Each pair, by name and by address: are they the same?
        for (number, (one, other)) in [
            ("ANNI", "anni"),
            ("Änne", "änne"),
            ("ÉCOLE", "école"),
            ("IRIS", "ırıs"),
            ("İDA", "ida"),
            ("straße", "strasse"),
            ("KELVIN", "\u{212a}elvin"),
        ]
        .into_iter()
        .enumerate()
        {
            let same = one.eq_ignore_ascii_case(other);
            let address = |name: &str| format!("{name}@{number}");
            let created = users.create(&new(one, &address(one))).await.unwrap();
            assert!(matches!(created, CreateUserOutcome::Created(_)), "{one}");
            let second = users
                .create(&new(other, &format!("own@{number}")))
                .await
                .unwrap();
            let taken = second == CreateUserOutcome::UsernameTaken;
            assert_eq!(taken, same, "{other}: {second:?}");
            let name = format!("third-{number}");
            let third = users.create(&new(&name, &address(other))).await.unwrap();
            let taken = third == CreateUserOutcome::EmailTaken;
            assert_eq!(taken, same, "{other}: {third:?}");
            let found = users.find_by_username(other).await.unwrap().unwrap();
            assert_eq!(found.username, if same { one } else { other });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_database_cannot_hold() {
    let (_, database) = shop::fresh().await;
    let users = database.users();
    assert_eq!(users.find_by_username("a\0b").await.unwrap(), None);
    // It does not fit into an index, whatever compression makes of it.
    let mut random = Seeded::new(1);
    let long: String = (0..1_000)
        .map(|_| format!("{:x}", random.next_number()))
        .collect();
    for (username, email) in [("a\0b", "a@b"), ("ab", "a\0@b"), ("ab", long.as_str())] {
        let error = users.create(&new(username, email)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.effect()),
            (ErrorKind::Invalid, Effect::None)
        );
    }
    assert_eq!(users.find_by_username("ab").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_brought_along_with_their_ids_are_in_nobodys_way() {
    let (url, database) = shop::fresh().await;
    let bring = |ids: &str| {
        let sql = format!(
            "INSERT INTO users (id, username, email, password_hash, role)
            SELECT id, 'old-' || id, 'old-' || id || '@example.org', '$2y$', 'BUYER'
            FROM {ids} AS brought (id)"
        );
        shop::psql(&url, &sql);
    };
    let users = database.users();
    // More than anybody would try one by one, then some more later on, with a gap.
    for (ids, round) in [
        ("generate_series(1, 5000)", 1),
        ("generate_series(6000, 9000, 2)", 2),
        ("generate_series(100000, 100000)", 3),
    ] {
        bring(ids);
        let names = (0..20).map(|number| format!("new-{round}-{number}"));
        let created = names.map(|name| {
            let users = users.clone();
            tokio::spawn(async move {
                let email = format!("{name}@example.org");
                users.create(&new(&name, &email)).await.unwrap()
            })
        });
        let created: Vec<_> = created.collect();
        let mut ids = std::collections::HashSet::new();
        for one in created {
            let CreateUserOutcome::Created(user) = one.await.unwrap() else {
                panic!("nobody has this name or address");
            };
            assert!(ids.insert(user.id.clone()), "{} twice", user.id);
        }
    }
    // What is taken is still told apart.
    for (username, email, taken) in [
        ("OLD-7", "new@x", CreateUserOutcome::UsernameTaken),
        ("new", "Old-7@example.org", CreateUserOutcome::EmailTaken),
        (
            "old-7",
            "old-8@example.org",
            CreateUserOutcome::UsernameTaken,
        ),
    ] {
        bring("(SELECT max(id) + 1 FROM users)");
        let outcome = users.create(&new(username, email)).await.unwrap();
        assert_eq!(outcome, taken);
    }
}
