//! The stylesheet, the icon and the small script of the pages: embedded, named by their content, cached for good.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;
use std::collections::BTreeMap;
use std::sync::OnceLock;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../templates/assets"]
struct Files;

/// Hexadecimal digits of the content's SHA-256 in an asset's name: enough that a changed file has another one.
const DIGITS: usize = 16;
/// A year: the name changes with the content, so nobody needs to ask again.
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

struct Asset {
    bytes: Vec<u8>,
    content_type: &'static str,
}

struct Assets {
    /// By `NAME.HASH.EXTENSION`.
    by_served_name: BTreeMap<String, Asset>,
    served_name_of: BTreeMap<String, String>,
}

fn assets() -> &'static Assets {
    static ASSETS: OnceLock<Assets> = OnceLock::new();
    ASSETS.get_or_init(|| {
        let mut all = Assets { by_served_name: BTreeMap::new(), served_name_of: BTreeMap::new() };
        for name in Files::iter() {
            let Some(file) = Files::get(&name) else { continue };
            let Some((stem, extension)) = name.rsplit_once('.') else { continue };
            let Some(content_type) = content_type(extension) else { continue };
            let hash = hex::encode(file.metadata.sha256_hash());
            let served = format!("{stem}.{}.{extension}", &hash[..DIGITS]);
            all.served_name_of.insert(name.to_string(), served.clone());
            all.by_served_name.insert(served, Asset { bytes: file.data.into_owned(), content_type });
        }
        all
    })
}

fn content_type(extension: &str) -> Option<&'static str> {
    match extension {
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

/// Where an asset is served. The name is one of `templates/assets/`; a test looks that each page's exist.
pub fn url(name: &str) -> String {
    match assets().served_name_of.get(name) {
        Some(served) => format!("/assets/{served}"),
        None => format!("/assets/{name}"),
    }
}

/// `GET /assets/{file}`
pub async fn serve(Path(file): Path<String>) -> Response {
    match assets().by_served_name.get(&file) {
        Some(asset) => (
            [
                (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
                (header::CACHE_CONTROL, FOR_GOOD),
            ],
            Body::from(asset.bytes.as_slice()),
        )
            .into_response(),
        None => (StatusCode::NOT_FOUND, "There is no such file.\n").into_response(),
    }
}
