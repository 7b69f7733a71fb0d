//! Encrypted connections, in a build that has them and in one that has not.

#[cfg(not(feature = "tls"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_build_without_encryption_says_so() {
    use flashsale_core::ports::HealthCheck;

    use crate::migrations::remedy;
    use crate::shop;

    let database = shop::database(format!("{}?sslmode=require", shop::SERVER.url()));
    let line = remedy(database.check().await.unwrap_err());
    assert!(line.contains("sslmode") && line.contains("`tls`"), "{line}");
}

#[cfg(feature = "tls")]
mod in_a_build_that_encrypts {
    use flashsale_core::ports::HealthCheck;
    use flashsale_stack::{Authority, Postgres};

    use crate::migrations::remedy;
    use crate::shop;

    /// Whether the connections of ours are encrypted.
    const ENCRYPTED: &str = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'flashsale'";

    async fn refusal(url: String) -> String {
        remedy(shop::database(url).check().await.unwrap_err())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_does_not_encrypt_is_refused_if_it_has_to() {
        let url = shop::SERVER.url();
        for mode in ["require", "verify-ca", "verify-full"] {
            let line = refusal(format!("{url}?sslmode={mode}")).await;
            assert!(line.contains("does not support TLS"), "{line}");
        }
        for mode in ["disable", "allow", "prefer"] {
            let database = shop::database(format!("{url}?sslmode={mode}"));
            database.migrate().await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_mode_trusts_as_libpq_does() {
        let (authority, other) = (Authority::new(), Authority::new());
        let server = Postgres::with_tls(&authority);
        let by_name = server.url().replace("127.0.0.1", "localhost");
        let (trusted, stranger) = (authority.file(), other.file());
        let root = |file: &str| format!("&sslrootcert={file}");
        let none = String::new();
        let taken = [
            (server.url(), "disable", &none, "f"),
            (server.url(), "prefer", &none, "t"),
            (server.url(), "require", &none, "t"),
            (server.url(), "require", &root(&trusted), "t"),
            (server.url(), "verify-ca", &root(&trusted), "t"),
            (by_name.clone(), "verify-full", &root(&trusted), "t"),
        ];
        for (url, mode, root, encrypted) in taken {
            let database = shop::database(format!("{url}?sslmode={mode}{root}"));
            database.migrate().await.unwrap();
            database.check().await.unwrap();
            let is = server.psql(&server.url(), ENCRYPTED);
            assert_eq!(is.trim(), encrypted, "{mode} {root}");
        }
        let refused = [
            (&by_name, "require", root(&stranger), "UnknownIssuer"),
            (&by_name, "verify-ca", root(&stranger), "UnknownIssuer"),
            (&by_name, "verify-ca", none.clone(), "UnknownIssuer"),
            (&by_name, "verify-full", root(&stranger), "UnknownIssuer"),
            (&by_name, "verify-full", none.clone(), "UnknownIssuer"),
            (
                &server.url(),
                "verify-full",
                root(&trusted),
                "not valid for name",
            ),
        ];
        for (url, mode, root, why) in refused {
            let line = refusal(format!("{url}?sslmode={mode}{root}")).await;
            assert!(
                line.contains(why) && line.contains("sslrootcert"),
                "{mode}: {line}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_wants_to_know_us_is_shown_a_certificate() {
        let (authority, other) = (Authority::new(), Authority::new());
        let server = Postgres::with_tls(&authority);
        server.psql(&server.url(), "CREATE ROLE certified LOGIN SUPERUSER");
        let url = server.url_for("certified", "");
        let url = format!("{url}?sslmode=verify-ca&sslrootcert={}", authority.file());
        let with = |authority: &Authority, name: &str| {
            let shown = authority.certify_client(name);
            format!("{url}&sslcert={}&sslkey={}", shown.certificate, shown.key)
        };
        let line = refusal(url.clone()).await;
        assert!(line.contains("valid client certificate"), "{line}");
        let line = refusal(with(&authority, "somebody")).await;
        assert!(line.contains("certified"), "{line}");
        let line = refusal(with(&other, "certified")).await;
        assert!(line.contains("sslcert"), "{line}");
        let database = shop::database(with(&authority, "certified"));
        database.migrate().await.unwrap();
        database.check().await.unwrap();
    }
}
