use std::borrow::Cow;
use std::str::FromStr;

use flashsale_core::domain::{
    Attempt, AttemptId, Epoch, InvalidId, ProductId, Quantity, SaleId, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The version that is written, and the newest that is read.
const VERSION: u32 = 1;
const ATTEMPT: &str = "attempt";

/// The message of an attempt. A superset of what the service wrote that this one replaces: its
/// `userId`, `productId`, `saleId` and `timestamp` have their old names and forms.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    attempt_id: AttemptText,
    sale_id: Decimal,
    product_id: Decimal,
    user_id: &'a str,
    qty: u64,
    epoch: u32,
    seq: u64,
    reserved_at_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Rfc3339>,
}

/// A number as text, because not all languages read all integers.
#[derive(Debug)]
struct Decimal(i64);

impl Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Debug)]
struct AttemptText(AttemptId);

impl Serialize for AttemptText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read<'a> {
    v: Option<u32>,
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    attempt_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sale_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    product_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_id: Option<Cow<'a, str>>,
    qty: Option<u32>,
    epoch: Option<u32>,
    seq: Option<u64>,
    reserved_at_ms: Option<i64>,
}

/// What every version has.
#[derive(Debug, Deserialize)]
struct Envelope {
    v: Option<u64>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Appends the message of an attempt.
pub(crate) fn encode(attempt: &Attempt, bytes: &mut Vec<u8>) {
    let written = Written {
        v: VERSION,
        kind: ATTEMPT,
        attempt_id: AttemptText(attempt.id),
        sale_id: Decimal(attempt.sale.get()),
        product_id: Decimal(attempt.product.get()),
        user_id: attempt.user.as_str(),
        qty: attempt.quantity.units(),
        epoch: attempt.epoch.get(),
        seq: attempt.seq,
        reserved_at_ms: attempt.reserved_at.as_millis(),
        timestamp: Rfc3339::of(attempt.reserved_at),
    };
    serde_json::to_writer(bytes, &written).expect("plain data becomes JSON");
}

/// The attempt that these bytes stand for, or what is wrong with them.
pub(crate) fn decode(payload: &[u8]) -> Result<Attempt, String> {
    let read: Read<'_> = serde_json::from_slice(payload).map_err(|error| {
        // A field that has another form has it in another version.
        let envelope = serde_json::from_slice::<Envelope>(payload);
        let foreign = envelope.map(|envelope| check_envelope(envelope.v, envelope.kind.as_deref()));
        match foreign {
            Ok(Err(problem)) => problem,
            Ok(Ok(())) | Err(_) => error.to_string(),
        }
    })?;
    if read.v.is_none() && read.attempt_id.is_none() && read.user_id.is_some() {
        return Err(
            "attemptId is missing: a message of the service that this one replaces, which named no \
             attempts"
                .to_owned(),
        );
    }
    check_envelope(read.v.map(u64::from), read.kind.as_deref())?;
    let attempt_id = read.attempt_id.ok_or_else(|| missing("attemptId"))?;
    let quantity = read.qty.ok_or_else(|| missing("qty"))?;
    let user = read.user_id.ok_or_else(|| missing("userId"))?;
    let reserved_at = read.reserved_at_ms.ok_or_else(|| missing("reservedAtMs"))?;
    Ok(Attempt {
        id: attempt_id
            .parse()
            .map_err(|error| format!("attemptId {error}"))?,
        sale: id::<SaleId>("saleId", read.sale_id.as_deref())?,
        product: id::<ProductId>("productId", read.product_id.as_deref())?,
        user: UserId::new(user).map_err(|error| format!("userId {error}"))?,
        quantity: Quantity::new(quantity).ok_or("qty must be 1 or more")?,
        epoch: Epoch::new(read.epoch.ok_or_else(|| missing("epoch"))?),
        seq: read.seq.ok_or_else(|| missing("seq"))?,
        reserved_at: Timestamp::from_millis(reserved_at),
    })
}

fn check_envelope(version: Option<u64>, kind: Option<&str>) -> Result<(), String> {
    let version = version.ok_or_else(|| missing("v"))?;
    if version != u64::from(VERSION) {
        return Err(format!(
            "version {version} is not known here: read it with a newer worker"
        ));
    }
    match kind.ok_or_else(|| missing("type"))? {
        ATTEMPT => Ok(()),
        kind => Err(format!("type {kind:?} is not known here")),
    }
}

fn missing(field: &str) -> String {
    format!("{field} is missing")
}

fn id<T: FromStr<Err = InvalidId>>(name: &str, text: Option<&str>) -> Result<T, String> {
    let text = text.ok_or_else(|| missing(name))?;
    text.parse().map_err(|error| format!("{name} {error}"))
}

/// A moment as RFC 3339 writes it, with milliseconds. The server has a writer of its own for its
/// JSON: an adapter sees the core alone, which needs no texts of time.
#[derive(Debug)]
struct Rfc3339([u8; 24]);

impl Rfc3339 {
    /// Nothing for a year that it cannot write.
    fn of(at: Timestamp) -> Option<Self> {
        const FORMAT: &[BorrowedFormatItem<'_>] = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let nanoseconds = i128::from(at.as_millis()) * 1_000_000;
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?;
        let mut text = [0; 24];
        let written = at.format_into(&mut &mut text[..], FORMAT).ok()?;
        (written == text.len()).then_some(Self(text))
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(str::from_utf8(&self.0).expect("digits and signs"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use flashsale_core::domain::{
        Attempt, AttemptId, Epoch, ProductId, Quantity, SaleId, Timestamp, UserId,
    };
    use uuid::Uuid;

    use super::decode;

    fn encode(attempt: &Attempt) -> Vec<u8> {
        let mut bytes = Vec::new();
        super::encode(attempt, &mut bytes);
        bytes
    }

    fn attempt() -> Attempt {
        Attempt {
            id: AttemptId::from_uuid(Uuid::from_u128(7)),
            sale: SaleId::new(1).unwrap(),
            product: ProductId::new(2).unwrap(),
            user: UserId::new(r#"a"b\c"#).unwrap(),
            quantity: Quantity::new(u32::MAX).unwrap(),
            epoch: Epoch::new(3),
            seq: 8_123,
            reserved_at: Timestamp::from_millis(1_795_395_978_709),
        }
    }

    #[test]
    fn a_message_is_what_other_programs_expect() {
        let text = String::from_utf8(encode(&attempt())).unwrap();
        assert_eq!(
            text,
            r#"{"v":1,"type":"attempt","attemptId":"00000000-0000-0000-0000-000000000007","saleId":"1","productId":"2","userId":"a\"b\\c","qty":4294967295,"epoch":3,"seq":8123,"reservedAtMs":1795395978709,"timestamp":"2026-11-23T01:06:18.709Z"}"#
        );
        assert_eq!(decode(text.as_bytes()), Ok(attempt()));
    }

    #[test]
    fn a_field_more_harms_nobody() {
        let text = String::from_utf8(encode(&attempt())).unwrap();
        let more = text.replacen('{', r#"{"traceparent":"00-1","key":null,"#, 1);
        assert_eq!(decode(more.as_bytes()), Ok(attempt()));
    }

    #[test]
    fn what_is_no_attempt_says_why() {
        let text = String::from_utf8(encode(&attempt())).unwrap();
        for (from, to, problem) in [
            (r#""v":1"#, r#""v":2"#, "version 2 is not known"),
            (r#""v":1,"#, "", "v is missing"),
            (
                r#""v":1,"type":"#,
                r#""v":4294967296,"type":"#,
                "version 4294967296",
            ),
            (r#""type":"attempt""#, r#""type":"barrier""#, "barrier"),
            (r#""attemptId":"#, r#""attempt":"#, "attemptId is missing"),
            (r#""qty":4294967295"#, r#""qty":0"#, "qty"),
            (r#""qty":4294967295"#, r#""qty":4294967296"#, "4294967296"),
            (r#""saleId":"1""#, r#""saleId":"0""#, "saleId"),
            (r#""saleId":"1""#, r#""saleId":1"#, "invalid type"),
            (r#""epoch":3"#, r#""epoch":-1"#, "-1"),
            (r#""epoch":3,"#, "", "epoch is missing"),
            (r#""userId":"a"#, r#""userId":"ä"#, "userId"),
        ] {
            let wrong = text.replacen(from, to, 1);
            let said = decode(wrong.as_bytes()).unwrap_err();
            assert!(said.contains(problem), "{wrong}: {said}");
        }
        for garbage in [&b""[..], b"\xff\xfe", b"[]", b"null", b"{\"v\":1"] {
            decode(garbage).unwrap_err();
        }
        let of_the_old_service = br#"{"userId":"1","productId":"1","saleId":"1","timestamp":"x"}"#;
        let problem = decode(of_the_old_service).unwrap_err();
        assert!(problem.starts_with("attemptId is missing"), "{problem}");
        let of_the_future = br#"{"v":2,"type":"attempt","attemptId":{"hi":0,"lo":7}}"#;
        let problem = decode(of_the_future).unwrap_err();
        assert!(problem.starts_with("version 2"), "{problem}");
    }
}
