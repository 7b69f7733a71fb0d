//! Servers over encrypted connections, and builds that make none.

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_encryption_names_the_feature() {
    use crate::settings::ensure_stops;
    use crate::shop::Shop;

    let shop = Shop::new();
    let database = format!("{}?sslmode=require", shop.database_url);
    for (setting, value) in [
        ("DATABASE_URL", &*database),
        ("REDIS_URL", "rediss://:hunter2@localhost"),
        ("KAFKA_PROPERTIES", "security.protocol=SSL"),
    ] {
        let mut command = shop.serve_command("all");
        command.env(setting, value);
        ensure_stops(command, setting, "the feature `tls`");
    }
}

#[cfg(feature = "tls")]
mod in_a_build_that_encrypts {
    use std::process::Command;
    use std::time::Duration;

    use flashsale_stack::{Authority, Kafka, Postgres, Redis};

    use crate::crowd::{Rush, results};
    use crate::rushes::{ensure_sold, ensure_told};
    use crate::settings::ensure_stops;
    use crate::shop::{Own, Shop};
    use crate::support::ServerProcess;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// The settings of a server that reaches the others over encrypted connections only.
    fn settings(shop: &Shop, own: &Own, authority: &Authority) -> [(&'static str, String); 4] {
        let root = authority.file();
        let database = own.postgres.url().replace("127.0.0.1", "localhost");
        let redis = shop.redis.encrypted_url();
        let login = format!(
            "security.protocol=SASL_SSL;ssl.ca.location={root};sasl.mechanisms=SCRAM-SHA-256;\
             sasl.username=shop;sasl.password={}",
            Kafka::PASSWORD
        );
        [
            (
                "DATABASE_URL",
                format!("{database}?sslmode=verify-full&sslrootcert={root}"),
            ),
            ("REDIS_URL", format!("{redis}?sslrootcert={root}")),
            ("KAFKA_BROKERS", own.kafka.login_brokers()),
            ("KAFKA_PROPERTIES", login),
        ]
    }

    fn serve(shop: &Shop, settings: &[(&'static str, String)]) -> Command {
        let mut command = shop.serve_command("all");
        command.envs(settings.iter().cloned());
        command
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_sale_over_encrypted_connections() {
        let (authority, other) = (Authority::new(), Authority::new());
        let own = Own {
            kafka: Kafka::with_tls(&authority, false),
            postgres: Postgres::with_tls(&authority),
        };
        let shop = Shop::of(Redis::with_tls(&authority, &[]), own);
        let own = shop.own.as_ref().unwrap();
        let settings = settings(&shop, own, &authority);
        let server = ServerProcess::start(&mut serve(&shop, &settings));
        let (sale, product) = shop.sale("Lamp", 50, "now", "+1h");
        let rush = Rush {
            addresses: vec![server.address],
            sale,
            users: 100,
            connections: 10,
            pace: Duration::ZERO,
        };
        let told = rush.run().await;
        ensure_told(&told, 50);
        assert_eq!(results(server.address, product, &told, PATIENCE).await, 50);
        ensure_sold(&shop, (sale, product), 50).await;
        let clear = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE application_name = 'flashsale' AND NOT ssl";
        assert_eq!(shop.count(clear), 0);

        // Whoever is not trusted, and whoever does not trust us, stops a start.
        let wrong = self::settings(&shop, own, &other);
        for number in [0, 1, 3] {
            let mut mixed = settings.clone();
            mixed[number] = wrong[number].clone();
            let remedy = ["sslrootcert", "sslrootcert", "", "ssl.ca.location"][number];
            ensure_stops(serve(&shop, &mixed), "", remedy);
        }
        let mut refused = settings;
        refused[3].1 = refused[3].1.replace(Kafka::PASSWORD, "hunter2");
        ensure_stops(serve(&shop, &refused), "KAFKA_BROKERS", "sasl.");
    }
}
