//! Each test body on both databases: a file of SQLite, and a database of a throw-away PostgreSQL.

use crate::postgres::{self, Cluster};
use std::path::Path;

/// Where a test body keeps its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
}

/// Makes a test of each named function on each database: `on_sqlite::NAME` and `on_postgres::NAME`.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::database::On::Sqlite).await;
            })+
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if crate::postgres::available() {
                    super::$name(crate::database::On::Postgres).await;
                }
            })+
        }
    };
}
pub(crate) use on_both;

/// A database of a test's own, empty at first.
pub struct Fresh {
    pub url: String,
    left: Option<(&'static Cluster, String)>,
}

impl Fresh {
    /// On SQLite, a file in `dir`.
    pub async fn new(on: On, dir: &Path) -> Self {
        match on {
            On::Sqlite => {
                std::fs::create_dir_all(dir).unwrap();
                let path = dir.join(format!("{}.db", bot::db::new_id()));
                Self { url: format!("sqlite://{}?mode=rwc", path.display()), left: None }
            }
            On::Postgres => {
                let cluster = postgres::cluster().expect("asked for only where there is one");
                let name = cluster.take_database().await;
                Self { url: cluster.url(&name), left: Some((cluster, name)) }
            }
        }
    }

    /// One that stays when the test has ended.
    pub fn kept(url: &str) -> Self {
        Self { url: url.to_owned(), left: None }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some((cluster, name)) = self.left.take() {
            cluster.leave_database(name);
        }
    }
}
