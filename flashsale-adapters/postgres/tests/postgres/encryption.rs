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

/// Needs the program `openssl`.
#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_if_they_have_to_be() {
    use std::process::Command;

    use flashsale_core::ports::HealthCheck;
    use flashsale_stack::Postgres;

    use crate::migrations::remedy;
    use crate::shop;

    let mut server = Postgres::start();
    let required = format!("{}?sslmode=require", server.url());
    let line = remedy(shop::database(required.as_str()).check().await.unwrap_err());
    assert!(line.contains("does not support TLS"), "{line}");

    let folder = server.psql(&server.url(), "SHOW data_directory");
    let (folder, certificate) = (folder.trim(), format!("{}/server.crt", folder.trim()));
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args([
            "-keyout",
            &format!("{folder}/server.key"),
            "-out",
            &certificate,
        ])
        .output();
    assert!(made.unwrap().status.success());
    let owner = Command::new("chown")
        .args(["--reference", folder, &format!("{folder}/server.key")])
        .status();
    assert!(owner.unwrap().success());
    server.psql(&server.url(), "ALTER SYSTEM SET ssl = on");
    server.restart();
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'flashsale'";
    let database = shop::database(required);
    database.migrate().await.unwrap();
    database.check().await.unwrap();
    assert_eq!(server.psql(&server.url(), encrypted).trim(), "t");

    // Whose certificate it is, and whether it is one that we trust.
    let at = |host: &str, root: &str| {
        let url = server.url().replace("127.0.0.1", host);
        shop::database(format!("{url}?sslmode=verify-full{root}"))
    };
    let root = format!("&sslrootcert={certificate}");
    at("localhost", &root).check().await.unwrap();
    for untrusted in [at("127.0.0.1", &root), at("localhost", "")] {
        let line = remedy(untrusted.check().await.unwrap_err());
        assert!(line.contains("certificate"), "{line}");
    }
}
