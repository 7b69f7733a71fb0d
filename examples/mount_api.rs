//! Mounts the whole API in a poem application that exists already, below `/shop`.
//!
//! `cargo run -p flashsale-examples --bin mount_api` buys once through it, without a socket.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use flashsale_auth::{BcryptConfig, BcryptPasswordHasher, JwtConfig, JwtKey, JwtTokenIssuer};
use flashsale_core::domain::{NewSale, Window};
use flashsale_core::ports::Clock;
use flashsale_embedded::{EmbeddedConfig, EmbeddedEngine, SystemClock};
use flashsale_server::{Background, BackgroundConfig, HttpConfig, Services, app};
use poem::test::TestClient;
use poem::{Route, get, handler};
use serde_json::{Value, json};

#[handler]
fn home() -> &'static str {
    "the page that was here before"
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let config = EmbeddedConfig::new(folder.path().join("shop.db"));
    let engine = EmbeddedEngine::open(config, Arc::new(SystemClock))?;
    let hasher = BcryptPasswordHasher::new(BcryptConfig::default())?;
    // Your own secret comes from where you keep secrets.
    let key = JwtKey::hs256("1", *b"32 bytes, and better random ones");
    let tokens = JwtTokenIssuer::new(JwtConfig::new([key]))?;

    let services = Services::embedded(&engine, Arc::new(hasher), Arc::new(tokens));
    let services = Arc::new(services);
    let background = Background::start(&services, &BackgroundConfig::default()).await;
    let shop = app(Arc::clone(&services), &HttpConfig::default())?;
    let site = Route::new().at("/", get(home)).nest("/shop", shop);

    let now = SystemClock.now();
    let lamps = NewSale {
        product_name: "Lamp".to_owned(),
        product_description: "One per person".to_owned(),
        window: Window {
            start: now,
            end: now.plus_ms(60 * 60 * 1_000),
        },
        stock: 100,
    };
    let sale = services.engine.sales.create(&lamps).await??.sale;

    // poem::Server would serve `site` on a socket from here on.
    let client = TestClient::new(site);
    let page = client.get("/").send().await;
    page.assert_text("the page that was here before").await;

    let ann = json!({
        "username": "ann", "email": "ann@example.org", "password": "correct horse"
    });
    let registered = client
        .post("/shop/api/auth/register")
        .body_json(&ann)
        .send()
        .await;
    registered.assert_status(poem::http::StatusCode::CREATED);
    let login = client
        .post("/shop/api/auth/login")
        .body_json(&ann)
        .send()
        .await;
    let login: Value = login.json().await.value().deserialize();
    let token = login["data"]["token"].as_str().ok_or("no token")?;

    let attempt = client
        .post(format!("/shop/api/flash-sale/attempt/{}", sale.id))
        .header("authorization", format!("Bearer {token}"))
        .send()
        .await;
    attempt.assert_status_is_ok();
    let answer: Value = attempt.json().await.value().deserialize();
    println!("{answer:#}");
    assert_eq!(answer["data"]["status"], "SUCCESS");

    background.stop(Duration::from_secs(1)).await;
    Ok(())
}
