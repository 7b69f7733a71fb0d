use std::net::{IpAddr, Ipv4Addr};

use poem::Addr;
use poem::http::HeaderMap;
use poem::web::RemoteAddr;

use crate::http_config::Network;

/// Who asks: the peer, or if that is a trusted proxy, whom it names.
///
/// `X-Forwarded-For` is read from its end, where our own proxies write; the first address that is
/// none of theirs counts, and nothing before it, which anybody can have sent.
pub(super) fn client_address(
    peer: &RemoteAddr,
    headers: &HeaderMap,
    trusted: &[Network],
) -> IpAddr {
    let mut address = match &peer.0 {
        Addr::SocketAddr(address) => address.ip().to_canonical(),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let trusts = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let named = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    for name in named {
        if !trusts(address) {
            break;
        }
        match name.trim().parse::<IpAddr>() {
            Ok(before) => address = before.to_canonical(),
            Err(_) => break,
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_trusted_proxy_says_counts() {
        let trusted: Vec<Network> = ["10.0.0.0/8", "::1"].map(|n| n.parse().unwrap()).into();
        let found = |peer: &str, forwarded: &[&'static str]| {
            let peer = RemoteAddr(Addr::SocketAddr(peer.parse().unwrap()));
            let mut headers = HeaderMap::new();
            for line in forwarded {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            client_address(&peer, &headers, &trusted).to_string()
        };
        assert_eq!(found("8.8.8.8:1", &["1.2.3.4"]), "8.8.8.8");
        assert_eq!(found("10.1.1.1:1", &[]), "10.1.1.1");
        assert_eq!(found("10.1.1.1:1", &["6.6.6.6, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(found("10.1.1.1:1", &["1.2.3.4, 10.2.2.2"]), "1.2.3.4");
        assert_eq!(found("[::1]:1", &["6.6.6.6", "1.2.3.4"]), "1.2.3.4");
        assert_eq!(found("[::ffff:10.1.1.1]:1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(found("10.1.1.1:1", &["1.2.3.4, unknown"]), "10.1.1.1");
    }
}
