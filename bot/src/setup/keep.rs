//! Keeps what GitHub gave: files that only their owner may read, and none of them ever overwritten.

use super::Wanted;
use crate::error::UserError;
use crate::github::NewApp;
use anyhow::Context;
use secrecy::ExposeSecret;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub const CONFIG: &str = "paceline-server.toml";
const KEY: &str = "github-app.pem";
const SECRET: &str = "github-webhook-secret";

/// Before the App is made: afterwards its key could not be had a second time.
pub fn may_write(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir)
        .map_err(|error| UserError::new(format!("cannot make {}: {error}", dir.display())))?;
    for name in [CONFIG, KEY, SECRET] {
        let path = dir.join(name);
        if fs::symlink_metadata(&path).is_ok() {
            let words = format!("{} is there already; move it away, or say another --dir", path.display());
            return Err(UserError::new(words).into());
        }
    }
    let tried = dir.join(".paceline-setup");
    let cannot =
        |error: std::io::Error| UserError::new(format!("cannot write to {}: {error}", dir.display()));
    write_new(&tried, "").map_err(cannot)?;
    fs::remove_file(&tried).map_err(cannot)?;
    Ok(())
}

/// Writes key, secret and the server's configuration.
pub fn keep(wanted: &Wanted, app: &NewApp) -> anyhow::Result<()> {
    let dir = fs::canonicalize(&wanted.dir).context("the directory was there before")?;
    let mut config = toml_edit::DocumentMut::new();
    config["public_url"] = toml_edit::value(&wanted.public_url);
    if wanted.api_url != "https://api.github.com" {
        config["github_api_url"] = toml_edit::value(&wanted.api_url);
    }
    config["github_app_id"] = toml_edit::value(i64::try_from(app.id).context("an App's number")?);
    config["github_private_key_file"] = toml_edit::value(dir.join(KEY).display().to_string());
    write_new(&dir.join(KEY), app.pem.expose_secret()).context("cannot write the App's key")?;
    if let Some(secret) = &app.webhook_secret {
        config["github_webhook_secret_file"] = toml_edit::value(dir.join(SECRET).display().to_string());
        write_new(&dir.join(SECRET), secret.expose_secret()).context("cannot write the webhook's secret")?;
    }
    if let Some(id) = &app.client_id {
        config["github_client_id"] = toml_edit::value(id);
    }
    if let Some(secret) = &app.client_secret {
        config["github_client_secret"] = toml_edit::value(secret.expose_secret());
    }
    write_new(&dir.join(CONFIG), &config.to_string()).context("cannot write the configuration")
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
