//! Encrypted connections, the certificates of both sides, and logins over them.
#![allow(clippy::unwrap_used)]

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_encryption_says_so() {
    use flashsale_kafka::KafkaConfig;

    for (name, value) in [
        ("security.protocol", "ssl"),
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", "/etc/ca.pem"),
        ("sasl.mechanisms", "SCRAM-SHA-256"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
    ] {
        let mut config = KafkaConfig::new("a:1");
        config.properties = vec![(name.to_owned(), value.to_owned())];
        let line = config.validate().unwrap_err().to_string();
        assert!(
            line.contains("needs a build with the feature `tls`"),
            "{line}"
        );
        assert!(line.contains(name) && !line.contains('\n'), "{line}");
    }
}

#[cfg(feature = "tls")]
mod support;

#[cfg(feature = "tls")]
mod in_a_build_that_encrypts {
    use flashsale_core::ports::AttemptQueue;
    use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};
    use flashsale_stack::{Authority, Kafka};

    use crate::support::{ids, lag, logged, on, queue, read_all, remedy};

    fn with(brokers: String, properties: &[(&str, &str)], kafka: &Kafka) -> KafkaConfig {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        KafkaConfig {
            brokers,
            publish_wait_ms: 10_000,
            commit_wait_ms: 10_000,
            properties: properties.iter().map(owned).collect(),
            ..on(kafka, "encrypted")
        }
    }

    /// Publishes, reads and commits.
    async fn carries(config: KafkaConfig, group: &str) {
        let queue = queue(&config).await;
        let published = logged(&queue, 10).await;
        let mut reader = queue.subscribe(group).await.unwrap();
        read_all(&mut *reader, &ids(&published)).await;
        reader.commit().await.unwrap();
        assert_eq!(lag(&queue, group).await, 0);
    }

    async fn refusal(config: KafkaConfig) -> String {
        remedy(&KafkaAttemptQueue::new(config).unwrap()).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn attempts_go_over_encrypted_connections() {
        let (authority, other) = (Authority::new(), Authority::new());
        let kafka = Kafka::with_tls(&authority, false);
        let (root, stranger) = (authority.file(), other.file());
        let ssl = ("security.protocol", "SSL");
        let brokers = kafka.encrypted_brokers();
        let trusting = [ssl, ("ssl.ca.location", &root)];
        carries(with(brokers.clone(), &trusting, &kafka), "encrypted").await;

        let elsewhere = brokers.replace("localhost", "127.0.0.1");
        for (brokers, properties) in [
            (&brokers, &[ssl, ("ssl.ca.location", &stranger)][..]),
            (&brokers, &[ssl]),
            (&elsewhere, &trusting),
        ] {
            let line = refusal(with(brokers.clone(), properties, &kafka)).await;
            assert!(line.contains("ssl.ca.location"), "{line}");
        }

        for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
            let login = |password: &str| {
                let brokers = kafka.login_brokers();
                let properties = [
                    ("security.protocol", "SASL_SSL"),
                    ("ssl.ca.location", &root),
                    ("sasl.mechanisms", mechanism),
                    ("sasl.username", "shop"),
                    ("sasl.password", password),
                ];
                with(brokers, &properties, &kafka)
            };
            carries(login(Kafka::PASSWORD), mechanism).await;
            let line = refusal(login("hunter2")).await;
            assert!(
                line.contains("sasl.") && !line.contains("hunter2"),
                "{line}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn brokers_that_want_to_know_us_are_shown_a_certificate() {
        let (authority, other) = (Authority::new(), Authority::new());
        let kafka = Kafka::with_tls(&authority, true);
        let root = authority.file();
        let trusting = [("security.protocol", "SSL"), ("ssl.ca.location", &root)];
        let show = |authority: &Authority| {
            let shown = authority.certify_client("shop");
            let (certificate, key) = (&*shown.certificate, &*shown.key);
            let shows = [
                ("ssl.certificate.location", certificate),
                ("ssl.key.location", key),
            ];
            let properties = [trusting, shows].concat();
            with(kafka.encrypted_brokers(), &properties, &kafka)
        };
        for unknown in [
            with(kafka.encrypted_brokers(), &trusting, &kafka),
            show(&other),
        ] {
            let line = refusal(unknown).await;
            assert!(line.contains("ssl.certificate.location"), "{line}");
        }
        carries(show(&authority), "known").await;
    }
}
