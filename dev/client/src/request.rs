/// The path on which a sale takes attempts.
pub(crate) fn attempt_path(sale: i64) -> String {
    format!("/api/flash-sale/attempt/{sale}")
}

/// A whole request as text.
pub(crate) fn request(method: &str, path: &str, token: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}
