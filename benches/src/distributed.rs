use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flashsale_auth::{BcryptConfig, BcryptPasswordHasher, JwtTokenIssuer};
use flashsale_core::domain::{NewSale, Quantity, ReserveRequest, Sale, Window};
use flashsale_core::ports::{Clock, IdSource, StockStore, StockStoreExt, TokenIssuer};
use flashsale_core::services::{AcceptAfter, OnPublishFailure};
use flashsale_embedded::{SystemClock, UuidV7};
use flashsale_kafka::KafkaConfig;
use flashsale_postgres::{PostgresConfig, PostgresDatabase};
use flashsale_redis::{RedisConfig, RedisStockStore};
use flashsale_server::{
    Background, BackgroundConfig, Distributed, DistributedConfig, HttpConfig, Role, Services, app,
    serve,
};
use flashsale_stack::{Kafka, Postgres, Redis};
use poem::http::header::{AUTHORIZATION, CONTENT_TYPE};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{EndpointExt, Request, Response, Route, Server, handler, post};

use crate::http::issuer;

/// The servers that the engine needs.
#[derive(Debug)]
pub struct Stack {
    /// The stock.
    pub redis: Redis,
    /// The queue.
    pub kafka: Kafka,
    /// The orders.
    pub postgres: Postgres,
    database_url: String,
}

impl Stack {
    /// Starts them.
    #[expect(clippy::new_without_default, reason = "it starts servers")]
    pub fn new() -> Self {
        let (redis, kafka, postgres) = (Redis::start(), Kafka::start(), Postgres::start());
        let database_url = postgres.fresh_database();
        Self {
            redis,
            kafka,
            postgres,
            database_url,
        }
    }

    /// Where the database of the engine is.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The database of the engine.
    pub fn database(&self) -> PostgresDatabase {
        PostgresDatabase::new(PostgresConfig::new(&self.database_url)).expect("a valid URL")
    }

    /// The stock store of the engine.
    pub fn stock(&self) -> RedisStockStore {
        RedisStockStore::new(RedisConfig::new(self.redis.url())).expect("a valid URL")
    }

    /// Starts this program once more, as this part of an engine; see [`play_part`].
    ///
    /// # Panics
    /// If it does not start.
    pub fn part(&self, part: &str, accept_after: AcceptAfter) -> Part {
        let accept_after = match accept_after {
            AcceptAfter::Logged => "logged",
            AcceptAfter::Reserved => "reserved",
        };
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "part",
                part,
                accept_after,
                &self.database_url,
                &self.redis.url(),
            ])
            .arg(self.kafka.brokers())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("an address");
        let address = line.trim().parse().expect("an address");
        Part { child, address }
    }

    /// Makes a sale of so many units, and opens it.
    ///
    /// # Panics
    /// If that fails.
    pub async fn sale(&self, product: &str, stock: u64) -> Sale {
        let now = SystemClock.now();
        let new = NewSale {
            product_name: product.to_owned(),
            product_description: String::new(),
            window: Window {
                start: now,
                end: now.plus_ms(86_400_000),
            },
            stock,
        };
        let engine = self.engine(AcceptAfter::Logged);
        engine.migrate().await.expect("a database");
        let services = services(&engine, Role::All);
        let made = services
            .engine
            .sales
            .create(&new)
            .await
            .expect("a working engine");
        made.expect("a valid sale").sale
    }

    fn engine(&self, accept_after: AcceptAfter) -> Distributed {
        engine(
            &self.database_url,
            &self.redis.url(),
            &self.kafka.brokers(),
            accept_after,
        )
    }

    /// The processor time that all servers have used so far.
    pub fn cpu(&self) -> [(&'static str, Duration); 3] {
        let id = |id: Option<u32>| id.expect("it runs");
        [
            ("Redis", cpu_of(id(self.redis.id()))),
            ("Kafka", cpu_of(id(self.kafka.id()))),
            ("PostgreSQL", cpu_of_family(id(self.postgres.id()))),
        ]
    }
}

/// A part of an engine in a process of its own, which ends with this value.
#[derive(Debug)]
pub struct Part {
    child: Child,
    /// Where it serves HTTP.
    pub address: SocketAddr,
}

impl Part {
    /// The processor time that it has used so far.
    pub fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }

    /// The memory that it has, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let figure = line.and_then(|line| line.split_whitespace().next());
        figure.and_then(|figure| figure.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// If this process was started by [`Stack::part`], is that part until its parent ends; else returns.
pub fn play_part() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [mark, part, accept_after, database, redis, brokers] = &arguments[..] else {
        return;
    };
    if mark != "part" {
        return;
    }
    let accept_after = match accept_after.as_str() {
        "reserved" => AcceptAfter::Reserved,
        _ => AcceptAfter::Logged,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let address = match part.as_str() {
            "bare" => bare(redis).await,
            role => {
                let role = if role == "api" {
                    Role::Api
                } else {
                    Role::Worker
                };
                whole(engine(database, redis, brokers, accept_after), role).await
            }
        };
        println!("{address}");
        // Its parent's death ends its input.
        let _ = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await;
    });
    std::process::exit(0);
}

fn engine(database: &str, redis: &str, brokers: &str, accept_after: AcceptAfter) -> Distributed {
    let config = DistributedConfig {
        postgres: PostgresConfig::new(database),
        redis: RedisConfig::new(redis),
        kafka: Some(KafkaConfig::new(brokers)),
        accept_after,
        on_publish_failure: OnPublishFailure::Complete,
    };
    Distributed::new(config).expect("a valid configuration")
}

fn services(engine: &Distributed, role: Role) -> Services {
    let config = BcryptConfig {
        cost: 4,
        ..BcryptConfig::default()
    };
    let hasher = BcryptPasswordHasher::new(config).expect("a valid configuration");
    engine.services(Arc::new(hasher), issuer(), role)
}

async fn whole(engine: Distributed, role: Role) -> SocketAddr {
    let services = Arc::new(services(&engine, role));
    let config = BackgroundConfig {
        role,
        ..BackgroundConfig::default()
    };
    let background = Background::start(&services, &config).await;
    let app = app(services, &HttpConfig::default()).expect("a valid configuration");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let never = std::future::pending();
        let _ = serve(listener, app, &HttpConfig::default(), never, Duration::ZERO).await;
        drop((background, engine));
    });
    address
}

/// The yardstick: a bare poem route that checks the same token and reserves by merged calls.
async fn bare(redis: &str) -> SocketAddr {
    let stock = RedisStockStore::new(RedisConfig::new(redis)).expect("a valid URL");
    let stock: Arc<dyn StockStore> = Arc::new(stock);
    let route = Route::new().at(
        "/api/flash-sale/attempt/:sale",
        post(reserve).data(issuer()).data(stock),
    );
    let acceptor = TcpListener::bind("127.0.0.1:0")
        .into_acceptor()
        .await
        .expect("a port");
    let address = *acceptor.local_addr()[0]
        .as_socket_addr()
        .expect("an address");
    tokio::spawn(Server::new_with_acceptor(acceptor).run(route));
    address
}

#[handler]
async fn reserve(
    request: &Request,
    tokens: poem::web::Data<&Arc<JwtTokenIssuer>>,
    stock: poem::web::Data<&Arc<dyn StockStore>>,
) -> Response {
    let header = request.headers().get(AUTHORIZATION);
    let token = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let claims = tokens.verify(token.unwrap_or_default(), SystemClock.now());
    let user = claims.expect("a valid token").user;
    // The path names sale and product in one number, which is enough here.
    let id: i64 = request.path_params().expect("a number");
    let sale = flashsale_core::domain::SaleRef {
        id: flashsale_core::domain::SaleId::new(id).expect("positive"),
        product: flashsale_core::domain::ProductId::new(id).expect("positive"),
        epoch: flashsale_core::domain::Epoch::FIRST,
    };
    let request = ReserveRequest {
        attempt: UuidV7.attempt_id(),
        user,
        quantity: Quantity::ONE,
    };
    let outcome = stock
        .reserve_one(&sale, &request)
        .await
        .expect("a working Redis");
    let won = matches!(outcome, flashsale_core::domain::ReserveOutcome::Reserved(_));
    Response::builder()
        .status(if won {
            poem::http::StatusCode::OK
        } else {
            poem::http::StatusCode::CONFLICT
        })
        .header(CONTENT_TYPE, "application/json")
        .body(format!(
            r#"{{"success":true,"data":{{"attemptId":"{}"}}}}"#,
            request.attempt
        ))
}

/// The processor time that this process has used so far.
pub fn own_cpu() -> Duration {
    cpu_of(std::process::id())
}

/// The processor time of a process, in the 10 ms that Linux counts in.
fn cpu_of(id: u32) -> Duration {
    ticks(id).map_or(Duration::ZERO, |(own, _, _)| own)
}

/// The processor time of a process and its children, also of those that have ended.
fn cpu_of_family(id: u32) -> Duration {
    let mut all = ticks(id).map_or(Duration::ZERO, |(own, ended, _)| own + ended);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let child = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some((own, _, parent)) = child.and_then(ticks)
            && parent == id
        {
            all += own;
        }
    }
    all
}

/// The time of a process itself, that of its ended children, and its parent.
fn ticks(id: u32) -> Option<(Duration, Duration, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let time = |from: usize| -> Option<Duration> {
        let user: u64 = fields.get(from)?.parse().ok()?;
        let system: u64 = fields.get(from + 1)?.parse().ok()?;
        Some(Duration::from_millis((user + system) * 10))
    };
    Some((time(11)?, time(13)?, fields.get(1)?.parse().ok()?))
}
