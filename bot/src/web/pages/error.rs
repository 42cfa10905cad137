//! What a visitor sees when there is no page, in the same look, and without a word about our insides.

use crate::db::new_id;
use askama::Template;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

/// Why there is no page.
#[derive(Debug)]
pub enum PageError {
    /// No such thing, or nothing that this visitor may know of: the same answer for both.
    NotFound,
    /// The database does not answer now.
    Unavailable(anyhow::Error),
    /// Ours: logged with an id, of which the visitor is told.
    Internal(anyhow::Error),
}

impl From<anyhow::Error> for PageError {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

impl From<sqlx::Error> for PageError {
    fn from(error: sqlx::Error) -> Self {
        /// SQLite's SQLITE_BUSY and SQLITE_LOCKED.
        const LOCKED: [&str; 2] = ["5", "6"];
        let unavailable = match &error {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => true,
            sqlx::Error::Database(database) => {
                database.code().is_some_and(|code| LOCKED.contains(&code.as_ref()))
            }
            _ => false,
        };
        if unavailable { Self::Unavailable(error.into()) } else { Self::Internal(error.into()) }
    }
}

/// What is said, and what is logged under the id that is told.
struct Told {
    status: StatusCode,
    title: &'static str,
    words: &'static str,
    id: Option<String>,
}

impl PageError {
    fn tell(self) -> Told {
        match self {
            PageError::NotFound => Told {
                status: StatusCode::NOT_FOUND,
                title: "Nothing here",
                words: "There is no such page, or none that can be shown without signing in.",
                id: None,
            },
            PageError::Unavailable(error) => {
                let id = new_id();
                tracing::error!(error_id = id, error = format!("{error:#}"), "a page found no database");
                Told {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    title: "The database does not answer",
                    words: "Nothing is lost. Try again in a moment.",
                    id: Some(id),
                }
            }
            PageError::Internal(error) => {
                let id = new_id();
                tracing::error!(error_id = id, error = format!("{error:#}"), "a page failed");
                Told {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    title: "Something failed here",
                    words: "It is not your doing. The log has the reason.",
                    id: Some(id),
                }
            }
        }
    }
}

#[derive(Template)]
#[template(path = "pages/error.html")]
struct ErrorPage {
    told: Told,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let told = self.tell();
        let status = told.status;
        match (ErrorPage { told }).render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(error) => {
                tracing::error!(%error, "the error page failed");
                (status, "Something failed here.\n").into_response()
            }
        }
    }
}

/// The same for programs, who are also told what is wrong with their question.
pub enum ApiError {
    Page(PageError),
    Bad(String),
}

impl ApiError {
    pub fn bad(words: impl Into<String>) -> Self {
        Self::Bad(words.into())
    }
}

impl<E: Into<PageError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self::Page(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let told = match self {
            Self::Page(error) => error.tell(),
            Self::Bad(words) => {
                let body = serde_json::json!({ "error": "Bad request", "message": words, "id": null });
                return (StatusCode::BAD_REQUEST, Json(body)).into_response();
            }
        };
        let body = serde_json::json!({ "error": told.title, "message": told.words, "id": told.id });
        (told.status, Json(body)).into_response()
    }
}

/// Any address that is no page.
pub async fn unknown_address() -> PageError {
    PageError::NotFound
}
