//! A whole shop in memory, behind the routes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flashsale_core::domain::{
    Allocation, ApplyOutcome, Attempt, Levels, NewSale, NewUser, OpenOutcome, ProductId,
    ReserveOutcome, ReserveRequest, Role, Sale, SaleRef, SaleResult, SettleOutcome, Settlement,
    StockEvent, StockSnapshot, Timestamp, UserId, Window,
};
use flashsale_core::ports::{
    AttemptQueue, AttemptReader, Clock, CreateUserOutcome, PasswordHasher, SoleProcess, StockStore,
};
use flashsale_core::services::{AuthService, EnginePorts, Worker};
use flashsale_core::testing::{
    ManualClock, MemoryAttemptQueue, MemoryAttemptRepo, MemoryDatabase, MemoryDeadLetterRepo,
    MemoryOrderRepo, MemorySaleRepo, MemoryStockStore, MemoryTokenIssuer, MemoryUserRepo,
    PlainPasswordHasher, SequentialIds,
};
use flashsale_core::{ErrorKind, PortError};
use flashsale_server::{HttpConfig, Metrics, Services, app};
use poem::endpoint::BoxEndpoint;
use poem::test::TestClient;
use poem::{EndpointExt, Response};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);
pub(crate) const START_TEXT: &str = "2026-01-01T00:00:00.000Z";
pub(crate) const HOUR_MS: i64 = 3_600_000;

pub(crate) type Client = TestClient<BoxEndpoint<'static, Response>>;

pub(crate) struct Shop {
    pub(crate) services: Arc<Services>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) stock: Arc<MoodyStock>,
    pub(crate) hasher: Arc<MoodyHasher>,
    worker: Worker,
    reader: tokio::sync::Mutex<Box<dyn AttemptReader>>,
}

impl Shop {
    /// A user whose password somebody else has hashed.
    pub(crate) async fn user_with_hash(&self, username: &str, hash: &str) -> UserId {
        let new = NewUser {
            username: username.to_owned(),
            email: format!("{username}@example.org"),
            full_name: None,
            password_hash: hash.to_owned(),
            role: Role::Buyer,
        };
        match self.services.auth.users.create(&new).await.unwrap() {
            CreateUserOutcome::Created(user) => user.id,
            taken => panic!("{username}: {taken:?}"),
        }
    }

    /// An empty shop, at the moment when its sales start.
    pub(crate) async fn open() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let database = MemoryDatabase::new();
        let stock = Arc::new(MoodyStock {
            inner: MemoryStockStore::new(clock.clone()),
            mood: Mutex::default(),
        });
        let hasher = Arc::new(MoodyHasher::default());
        let queue = Arc::new(MemoryAttemptQueue::new());
        let metrics = Metrics::new();
        let ports = EnginePorts {
            stock: stock.clone(),
            queue: queue.clone(),
            orders: Arc::new(MemoryOrderRepo::new(database.clone(), clock.clone())),
            sales: Arc::new(MemorySaleRepo::new(database.clone())),
            attempts: Arc::new(MemoryAttemptRepo::new(database.clone())),
            dead_letters: Arc::new(MemoryDeadLetterRepo::new(clock.clone())),
            decoder: None,
            leadership: Arc::new(SoleProcess),
            clock: clock.clone(),
            ids: Arc::new(SequentialIds::default()),
            recorder: Arc::new(metrics.clone()),
        };
        let auth = AuthService {
            users: Arc::new(MemoryUserRepo::new(database)),
            hasher: hasher.clone(),
            tokens: Arc::new(MemoryTokenIssuer::default()),
            clock: clock.clone(),
        };
        let services = Services::new(ports.services(), auth, metrics);
        services.engine.catalogue.refresh().await.unwrap();
        let reader = queue.subscribe("workers").await.unwrap();
        let worker = services.engine.worker.clone();
        Self {
            services: Arc::new(services),
            clock,
            stock,
            hasher,
            worker,
            reader: tokio::sync::Mutex::new(reader),
        }
    }

    /// A client of the routes as configured by default.
    pub(crate) fn client(&self) -> Client {
        self.client_with(&HttpConfig::default())
    }

    pub(crate) fn client_with(&self, config: &HttpConfig) -> Client {
        TestClient::new(app(self.services.clone(), config).unwrap().boxed())
    }

    /// A sale of an hour, of a product of its own.
    pub(crate) async fn sale(&self, product_name: &str, start: Timestamp, stock: u64) -> Sale {
        let new = NewSale {
            product_name: product_name.to_owned(),
            product_description: "One per buyer".to_owned(),
            window: Window {
                start,
                end: start.plus_ms(HOUR_MS),
            },
            stock,
        };
        self.services
            .engine
            .sales
            .create(&new)
            .await
            .unwrap()
            .unwrap()
            .sale
    }

    /// The `Authorization` header of a user.
    pub(crate) fn bearer(&self, user: &str) -> String {
        let user = UserId::new(user).unwrap();
        let now = self.clock.now();
        let tokens = &self.services.auth.tokens;
        let issued = tokens.issue(&user, "name", Role::Buyer, now).unwrap();
        format!("Bearer {}", issued.token)
    }

    /// Has a worker decide everything that is in the queue.
    pub(crate) async fn work(&self) {
        let mut reader = self.reader.lock().await;
        self.worker.step(&mut **reader, 0).await.unwrap();
    }
}

/// A stock store with bad days.
#[derive(Debug)]
pub(crate) struct MoodyStock {
    inner: MemoryStockStore,
    mood: Mutex<Option<ErrorKind>>,
}

impl MoodyStock {
    pub(crate) fn fail(&self, kind: ErrorKind) {
        *self.mood.lock().unwrap() = Some(kind);
    }

    pub(crate) fn recover(&self) {
        *self.mood.lock().unwrap() = None;
    }

    fn try_it(&self) -> Result<(), PortError> {
        match *self.mood.lock().unwrap() {
            Some(kind) => Err(PortError::new(kind, "moody", "stock")
                .effect_unknown()
                .with_source("SELECT secret FROM /var/lib/store at db.internal:5432")),
            None => Ok(()),
        }
    }
}

macro_rules! moody {
    ($($name:ident($($arg:ident: $type:ty),*) -> $output:ty;)*) => {
        #[async_trait]
        impl StockStore for MoodyStock {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$output, PortError> {
                self.try_it()?;
                self.inner.$name($($arg),*).await
            })*
        }
    };
}

moody! {
    open(sale: &SaleRef, snapshot: &StockSnapshot) -> OpenOutcome;
    reserve(sale: &SaleRef, requests: &[ReserveRequest]) -> Vec<ReserveOutcome>;
    acknowledge(sale: &SaleRef, attempts: &[Attempt]) -> ();
    settle(sale: &SaleRef, settlements: &[Settlement]) -> Vec<SettleOutcome>;
    allocations(sale: &SaleRef, users: &[UserId]) -> Vec<Option<Allocation>>;
    unpublished(sale: &SaleRef, min_age_ms: u64, max: usize) -> Vec<Attempt>;
    overdue(sale: &SaleRef, min_age_ms: u64, max: usize) -> Vec<Attempt>;
    apply(sale: &SaleRef, event: &StockEvent) -> ApplyOutcome;
    fence(sale: &SaleRef) -> Option<Levels>;
    levels(sale: &SaleRef) -> Option<Levels>;
    put_results(results: &[SaleResult]) -> ();
    results(product: ProductId, users: &[UserId]) -> Vec<Option<SaleResult>>;
}

/// A password hasher that can be told to fail or to panic.
#[derive(Debug, Default)]
pub(crate) struct MoodyHasher {
    mood: Mutex<Option<Mood>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    Fails(ErrorKind),
    Panics,
}

impl MoodyHasher {
    pub(crate) fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = Some(mood);
    }

    fn try_it(&self) -> Result<(), PortError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Some(Mood::Fails(kind)) => Err(PortError::new(kind, "moody", "hash")),
            Some(Mood::Panics) => panic!("the hasher has lost its head at /home/moody.rs"),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl PasswordHasher for MoodyHasher {
    fn password_max(&self) -> usize {
        71
    }

    async fn hash(&self, password: &str) -> Result<String, PortError> {
        self.try_it()?;
        PlainPasswordHasher.hash(password).await
    }

    async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, PortError> {
        self.try_it()?;
        PlainPasswordHasher.verify(password, hash).await
    }
}
