//! A wrong setting stops the start with one line that names it, and never shows a secret.

use crate::complaint;
use crate::support::Shop;

/// What `serve` says to one setting on top of those that it needs.
fn serve_with(setting: &str, value: &str) -> String {
    let shop = Shop::new();
    let mut command = shop.command(&["serve"]);
    command
        .env("JWT_SECRET", Shop::SECRET)
        .env("PORT", "0")
        .env(setting, value);
    let complaint = complaint(&command.output().unwrap(), 2);
    assert!(complaint.starts_with(setting), "{complaint}");
    assert!(!complaint.contains(Shop::SECRET), "{complaint}");
    assert!(!shop.file.exists(), "a wrong setting leaves nothing behind");
    complaint
}

#[test]
fn each_setting_is_named_with_its_value_and_what_is_allowed() {
    let cases = [
        ("PORT", "abc", "from 0 to 65535"),
        ("PORT", "65536", "from 0 to 65535"),
        ("HOST", "http://here", "IP address"),
        ("HOST", "192.0.2.1", "of this machine"),
        ("DATABASE_URL", "shop.db", "sqlite://"),
        ("DATABASE_URL", "sqlite::memory:", "file"),
        ("JWT_EXPIRES_IN", "soon", "24h"),
        ("JWT_EXPIRES_IN", "0", "24h"),
        (
            "CORS_ORIGINS",
            "https://ok.example,*",
            "https://shop.example",
        ),
        ("CORS_HEADERS", "x-ok,two words", "x-shop-version"),
        ("BCRYPT_COST", "3", "from 4 to 16"),
        ("BCRYPT_COST", "17", "from 4 to 16"),
        ("LOGIN_CONCURRENCY", "0", "from 1 to 64"),
        ("LOGIN_CONCURRENCY", "65", "from 1 to 64"),
        ("SHUTDOWN_DELAY", "2h", "at most 1h"),
        ("TRUSTED_PROXIES", "10.0.0.0/33", "10.0.0.0/8"),
        ("LOG_FORMAT", "xml", "text or json"),
        ("RUST_LOG", "a=b=c", "info"),
        ("ROLE", "cashier", "worker"),
        ("ROLE", "worker", "DATABASE_URL"),
    ];
    for (setting, value, allowed) in cases {
        let complaint = serve_with(setting, value);
        let shown = value.rsplit(',').next().unwrap();
        assert!(complaint.contains(shown), "{setting}: {complaint}");
        assert!(complaint.contains(allowed), "{setting}: {complaint}");
    }
}

#[test]
fn a_secret_is_required_long_and_never_shown() {
    let short = "only-31-bytes-of-a-hidden-thing";
    let complaint = serve_with("JWT_SECRET", short);
    assert!(complaint.contains("31 bytes"), "{complaint}");
    assert!(!complaint.contains("hidden"), "{complaint}");
    assert!(serve_with("JWT_SECRET", "").contains("is not set"));
}

#[cfg(not(feature = "distributed"))]
#[test]
fn a_postgres_url_is_refused_without_showing_its_password() {
    let complaint = serve_with("DATABASE_URL", "postgres://shop:hunter2@db/shop");
    assert!(complaint.contains("sqlite"), "{complaint}");
    assert!(!complaint.contains("hunter2"), "{complaint}");
}

#[test]
fn a_flag_wins_over_its_variable() {
    let shop = Shop::new();
    let mut command = shop.command(&["serve", "--port", "nonsense"]);
    let output = command
        .env("PORT", "3001")
        .env("JWT_SECRET", Shop::SECRET)
        .output()
        .unwrap();
    assert!(complaint(&output, 2).starts_with("PORT is \"nonsense\""));
}

#[test]
fn serving_is_what_happens_without_a_command() {
    let output = Shop::program().output().unwrap();
    assert!(complaint(&output, 2).starts_with("JWT_SECRET is not set"));
}

#[test]
fn a_command_needs_only_the_settings_that_it_uses() {
    let shop = Shop::new();
    let mut command = shop.command(&["migrate"]);
    let unused = command
        .env("PORT", "nonsense")
        .env("JWT_SECRET", "short")
        .env("ROLE", "cashier");
    assert!(unused.output().unwrap().status.success());
}

#[test]
fn help_shows_flags_and_variables_but_no_values() {
    let mut command = Shop::program();
    command
        .args(["serve", "--help"])
        .env("JWT_SECRET", "hidden-jwt-secret");
    command.env("DATABASE_URL", "postgres://shop:hidden@db/shop");
    let help = crate::stdout(&command.output().unwrap());
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in [
        "PORT",
        "HOST",
        "DATABASE_URL",
        "JWT_SECRET",
        "JWT_EXPIRES_IN",
        "CORS_ORIGINS",
        "CORS_HEADERS",
        "LOG_FORMAT",
        "RUST_LOG",
        "BCRYPT_COST",
        "LOGIN_CONCURRENCY",
        "TRUSTED_PROXIES",
        "SHUTDOWN_DELAY",
    ] {
        assert!(
            help.contains(&format!("[env: {setting}]")),
            "{setting} is not in {help}"
        );
    }
    assert!(!help.contains("hidden"), "{help}");
}

#[test]
fn the_document_is_printed_without_any_setting() {
    let output = Shop::program().arg("openapi").output().unwrap();
    let document: serde_json::Value = serde_json::from_str(&crate::stdout(&output)).unwrap();
    assert!(document["paths"]["/api/flash-sale/status"].is_object());
}
