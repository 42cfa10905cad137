//! What of the owner's cargo configuration applies inside the walls: where packages come from. Never a credential.
//!
//! The owner's `CARGO_HOME` is not seen inside. The home that is mounted instead gets a `config.toml` of its own, made
//! from the owner's by an allow-list and written anew before each command, so that one which measured code left there
//! never applies.

use anyhow::Context;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, TableLike, Value};

/// Tables that say where packages come from. Flags, linkers, aliases, runners and environment are not the owner's to
/// set for others' builds: both sides are built by the repository's own configuration.
const TABLES: &[&str] = &["source", "registries", "registry", "http", "net"];
/// Keys that hold a secret, or name a program that knows one.
const SECRETS: &[&str] = &["token", "secret-key", "credential-provider", "global-credential-providers"];
/// Keys whose value is a path.
const PATHS: &[&str] = &["directory", "local-registry", "cainfo", "proxy-cainfo"];
/// Larger than any configuration that a person wrote.
const CONFIG_MAX_BYTES: u64 = 1 << 20;

/// A configuration fit for the inside, and the host's paths that it names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CargoConfig {
    text: String,
    pub(super) paths: Vec<PathBuf>,
}

impl CargoConfig {
    /// Reads the owner's, if there is one. One that cannot be read as TOML is an error: silently going to another
    /// registry than the owner's would be worse.
    pub(super) fn of(cargo_home: &Path) -> anyhow::Result<CargoConfig> {
        for name in ["config", "config.toml"] {
            let file = cargo_home.join(name);
            let Ok(size) = fs::metadata(&file).map(|meta| meta.len()) else { continue };
            anyhow::ensure!(size <= CONFIG_MAX_BYTES, "{} is too large", file.display());
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            return Self::filter(&text, cargo_home)
                .with_context(|| format!("{} is not valid", file.display()));
        }
        Ok(CargoConfig::default())
    }

    fn filter(text: &str, cargo_home: &Path) -> anyhow::Result<CargoConfig> {
        let mut document: DocumentMut = text.parse()?;
        document.retain(|name, _| TABLES.contains(&name));
        document.set_trailing("");
        let mut config = CargoConfig::default();
        // Cargo takes relative paths from the directory above the one that the file is in.
        let relative_to = cargo_home.parent().unwrap_or(cargo_home);
        clean(document.as_table_mut(), relative_to, &mut config.paths);
        config.text = document.to_string();
        Ok(config)
    }

    /// Puts it into a home that will be mounted, in place of whatever is there.
    pub(super) fn place(&self, home: &Path) -> std::io::Result<()> {
        // Cargo prefers the name without an ending.
        remove(&home.join("config"))?;
        let file = home.join("config.toml");
        let plain =
            fs::symlink_metadata(&file).is_ok_and(|meta| meta.is_file() && meta.len() <= CONFIG_MAX_BYTES);
        if plain && fs::read(&file).is_ok_and(|found| found == self.text.as_bytes()) {
            return Ok(());
        }
        remove(&file)?;
        if self.text.is_empty() {
            return Ok(());
        }
        // A new file: never written through a link.
        let mut new = fs::File::create_new(&file)?;
        // Readable for the sandbox's user, whatever the runner's umask.
        new.set_permissions(fs::Permissions::from_mode(0o644))?;
        new.write_all(self.text.as_bytes())
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

fn clean(table: &mut dyn TableLike, relative_to: &Path, paths: &mut Vec<PathBuf>) {
    for secret in SECRETS {
        table.remove(secret);
    }
    for (key, item) in table.iter_mut() {
        if let Some(inner) = item.as_table_like_mut() {
            clean(inner, relative_to, paths);
            continue;
        }
        let Some(text) = item.as_str() else { continue };
        let cleaned = if PATHS.contains(&key.get()) {
            let path = relative_to.join(text);
            paths.push(path.clone());
            path.to_string_lossy().into_owned()
        } else {
            without_password(text)
        };
        if cleaned != text {
            *item = Item::Value(Value::from(cleaned));
        }
    }
}

/// An address without the user and password in it.
pub(super) fn without_password(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}{}", &rest[at + 1..]),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_and_proxies_apply_and_secrets_do_not() {
        let text = r#"
[build]
rustflags = ["-C", "target-cpu=native"]
[alias]
b = "build"
[source.crates-io]
replace-with = "mirror"
[source.mirror]
registry = "sparse+https://alice:hunter2@mirror.example.org/index/"
[source.vendored]
directory = "vendor"
[registries.own]
index = "https://own.example.org/index"
token = "hunter2"
credential-provider = "hunter2"
[registry]
token = "hunter2"
[http]
proxy = "alice:hunter2@proxy.example.org:3128"
cainfo = "/company/ca.pem"
"#;
        let config = CargoConfig::filter(text, Path::new("/home/alice/.cargo")).unwrap();
        assert!(!config.text.contains("hunter2"), "{}", config.text);
        for kept in [
            r#"replace-with = "mirror""#,
            r#"registry = "sparse+https://mirror.example.org/index/""#,
            r#"index = "https://own.example.org/index""#,
            r#"proxy = "proxy.example.org:3128""#,
            r#"directory = "/home/alice/vendor""#,
        ] {
            assert!(config.text.contains(kept), "{kept} in {}", config.text);
        }
        assert!(!config.text.contains("rustflags") && !config.text.contains("alias"), "{}", config.text);
        assert_eq!(config.paths, [Path::new("/home/alice/vendor"), Path::new("/company/ca.pem")]);
        assert!(CargoConfig::filter("[source", Path::new("/c")).is_err());
    }

    #[test]
    fn what_measured_code_left_is_replaced_and_never_written_through() {
        let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = outside.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, home.path().join("config.toml")).unwrap();
        fs::create_dir(home.path().join("config")).unwrap();
        let config = CargoConfig { text: "[net]\nretry = 1\n".into(), paths: vec![] };
        config.place(home.path()).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(home.path().join("config.toml")).unwrap(), config.text);
        assert!(!home.path().join("config").exists());
        CargoConfig::default().place(home.path()).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn passwords_are_taken_out_of_addresses() {
        for (address, expect) in [
            ("http://a:b@proxy:3128", "http://proxy:3128"),
            ("http://a:p@ss@proxy/x@y", "http://proxy/x@y"),
            ("https://example.org/a@b", "https://example.org/a@b"),
            ("localhost,.example.org", "localhost,.example.org"),
        ] {
            assert_eq!(without_password(address), expect);
        }
    }
}
