//! Encrypted connections, to one Redis and to a cluster, and the certificates of both sides.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "tls")]
mod shop;

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_encryption_says_so() {
    use flashsale_redis::{RedisConfig, RedisStockStore};

    let config = RedisConfig::new("rediss://:secret@redis.internal");
    let line = RedisStockStore::new(config).unwrap_err().to_string();
    assert_eq!(line, "rediss:// needs a build with the feature `tls`");
}

#[cfg(feature = "tls")]
mod in_a_build_that_encrypts {
    use std::error::Error;

    use flashsale_core::ErrorKind;
    use flashsale_core::ports::HealthCheck;
    use flashsale_stack::{Authority, Redis, RedisCluster};

    use crate::shop;

    fn trusting(url: &str, authority: &Authority) -> String {
        let (first, others) = url.split_once(',').unwrap_or((url, ""));
        format!("{first}?sslrootcert={},{others}", authority.file())
            .trim_end_matches(',')
            .to_owned()
    }

    async fn refusal(url: String) -> String {
        let error = shop::store(url).check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
        let line = error.source().unwrap().to_string();
        assert!(!line.contains('\n'), "{line}");
        line
    }

    async fn sells(url: String) {
        let store = shop::store(url);
        store.check().await.unwrap();
        shop::open(&store, 1).await;
        shop::reserve(&store, 1).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sale_over_an_encrypted_connection() {
        let authority = Authority::new();
        let redis = Redis::with_tls(&authority, &[]);
        sells(trusting(&redis.encrypted_url(), &authority)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sale_over_the_encrypted_connections_of_a_cluster() {
        let authority = Authority::new();
        let cluster = RedisCluster::with_tls(&authority);
        sells(trusting(&cluster.encrypted_url(), &authority)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_redis_that_is_not_trusted_is_refused_in_one_line() {
        let (authority, other) = (Authority::new(), Authority::new());
        let redis = Redis::with_tls(&authority, &[]);
        let url = redis.encrypted_url();
        for untrusted in [url.clone(), trusting(&url, &other)] {
            let line = refusal(untrusted).await;
            assert!(
                line.contains("UnknownIssuer") && line.contains("sslrootcert"),
                "{line}"
            );
        }
        let elsewhere = url.replace("localhost", "127.0.0.1");
        let line = refusal(trusting(&elsewhere, &authority)).await;
        assert!(line.contains("not valid for name"), "{line}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_redis_that_wants_to_know_us_is_shown_a_certificate() {
        let (authority, other) = (Authority::new(), Authority::new());
        let redis = Redis::with_tls(&authority, &["--tls-auth-clients", "yes"]);
        let url = trusting(&redis.encrypted_url(), &authority);
        let with = |authority: &Authority| {
            let shown = authority.certify_client("shop");
            format!("{url}&sslcert={}&sslkey={}", shown.certificate, shown.key)
        };
        for unknown in [url.clone(), with(&other)] {
            let line = refusal(unknown).await;
            assert!(line.contains("sslcert"), "{line}");
        }
        sells(with(&authority)).await;
    }
}
