//! The configuration file, and the files that it names: read, compared, and taken or refused while requests go on.

use crate::active::Active;
use crate::config::{Config, ConfigError, FILE_MAX_BYTES, Server, Upstream};
use crate::server::Options;
use crate::tls::{self, Outward, Tls};
use crate::worker::Shared;
use anyhow::{Context, bail};
use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::iter;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often the file is looked at. A look costs one `stat`.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that was written less than this before it was read may be written again without a change of its
/// time stamp, which is no finer than the kernel's clock tick or the file system's; so its text is compared
/// again at the next look. Two seconds is the coarsest stamp in use.
const STAMP_SETTLES: Duration = Duration::from_secs(2);

/// Where the configuration comes from, and what of it was last seen.
pub struct Source {
    options: Options,
    /// None while the next look has to read the text whatever the stamps say.
    stamps: Option<Vec<Stamp>>,
    text: String,
    /// What the configuration that was last tried names besides: certificates and keys.
    files: Vec<PathBuf>,
    /// Of what they hold.
    print: u64,
    /// What was last loaded of them.
    tls: Option<Arc<Tls>>,
    /// Configurations that requests are still served under. They are dropped here and not by the last request:
    /// with 100,000 routes that takes long enough to be felt.
    retired: Vec<Arc<Active>>,
}

/// A configuration that can take effect.
pub struct Loaded {
    pub config: Config,
    pub tls: Option<Arc<Tls>>,
    /// Of each upstream, in order.
    pub outward: Vec<Option<Arc<Outward>>>,
}

impl Loaded {
    pub fn activate(self, before: Option<&Active>, threads: usize) -> Active {
        Active::build(self.config, before, threads).with_tls(self.tls, self.outward)
    }
}

/// Changes when the file does, as far as the file system tells.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp { modified: metadata.modified().ok(), bytes: metadata.len(), inode: metadata.ino() }
    }

    /// Whether a later change is sure to change the stamp.
    fn has_settled(&self) -> bool {
        let age = self.modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        age.is_some_and(|age| age > STAMP_SETTLES)
    }
}

impl Source {
    /// Reads the files for the first time; a fault in them is an error that shows file, line and column.
    pub fn open(options: &Options) -> anyhow::Result<(Source, Loaded)> {
        let mut source = Source {
            options: options.clone(),
            stamps: None,
            text: String::new(),
            files: Vec::new(),
            print: 0,
            tls: None,
            retired: Vec::new(),
        };
        source.text = source.read()?;
        let loaded = source.load()?;
        Ok((source, loaded))
    }

    /// Takes the files if they have changed. What is not valid is logged, and what is in force stays.
    pub fn look(&mut self, shared: &Shared) {
        self.retired.retain(|active| Arc::strong_count(active) > 1);
        if self.stamps.is_some() && self.stamps() == self.stamps {
            return;
        }
        self.take(shared);
    }

    /// Reads the files whatever their time stamps say, and takes them if what they hold has changed.
    pub fn take(&mut self, shared: &Shared) {
        // Before they are read, so that a change meanwhile is seen next time.
        let stamps = self.settled_stamps();
        match self.read_again() {
            Ok(None) => {}
            Ok(Some(loaded)) => {
                let before = shared.active.load_full();
                warn_of_what_needs_a_restart(&before, &loaded.config);
                let active = loaded.activate(Some(&before), shared.threads);
                let path = self.options.config.display();
                tracing::info!(%path, routes = active.routes.len(), "the configuration was reloaded");
                drop(before);
                self.retired.push(shared.active.swap(active));
                shared.metrics.reloads_taken.add(1);
            }
            Err(error) => {
                tracing::error!("the configuration stays as it was: {error:#}");
                shared.metrics.reloads_refused.add(1);
            }
        }
        self.stamps = stamps;
    }

    /// None where nothing has changed.
    fn read_again(&mut self) -> anyhow::Result<Option<Loaded>> {
        let text = self.read()?;
        if text == self.text && print_of(&self.files) == self.print {
            return Ok(None);
        }
        self.text = text;
        self.load().map(Some)
    }

    fn read(&self) -> anyhow::Result<String> {
        let path = self.options.config.display();
        let file = File::open(&self.options.config).with_context(|| format!("cannot open {path}"))?;
        let mut text = String::new();
        let read = file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text);
        read.with_context(|| format!("cannot read {path}"))?;
        if text.len() as u64 > FILE_MAX_BYTES {
            bail!("{path} is longer than {FILE_MAX_BYTES} bytes");
        }
        Ok(text)
    }

    /// Of the configuration and of the files that it names.
    fn stamps(&self) -> Option<Vec<Stamp>> {
        let all = iter::once(&self.options.config).chain(&self.files);
        all.map(|path| std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata))).collect()
    }

    /// The same, if all of them are sure to change with their files.
    fn settled_stamps(&self) -> Option<Vec<Stamp>> {
        self.stamps().filter(|stamps| stamps.iter().all(Stamp::has_settled))
    }

    /// Makes of the text, and of the files that it names, what can take effect.
    fn load(&mut self) -> anyhow::Result<Loaded> {
        let path = self.options.config.clone();
        let folder = path.parent().unwrap_or(Path::new(""));
        let fault = |error: ConfigError| anyhow::anyhow!("{}:{error}", path.display());
        // Should this fail, a change of the files is a reason to try again.
        self.print = print_of(&self.files);
        let config = self.parse().map_err(fault)?;
        let server = &config.server;
        self.files = tls::files(&config, folder);
        self.print = print_of(&self.files);
        let loaded = match &server.tls {
            Some(tls) => Some(tls::load(tls, folder, server.http2, self.tls.as_deref()).map_err(fault)?),
            None => None,
        };
        let outward = |upstream: &Upstream| {
            let loaded = upstream.tls.as_ref().map(|tls| tls::load_outward(tls, upstream.protocol, folder));
            loaded.transpose().map(|loaded| loaded.map(Arc::new))
        };
        let outward = config.upstreams.iter().map(outward).collect::<Result<_, _>>().map_err(fault)?;
        self.tls = loaded.map(Arc::new);
        Ok(Loaded { config, tls: self.tls.clone(), outward })
    }

    fn parse(&self) -> Result<Config, ConfigError> {
        let mut config = Config::parse(&self.text)?;
        let Options { listen, admin, threads, upstream, .. } = &self.options;
        config.server.listen = listen.unwrap_or(config.server.listen);
        config.server.admin = admin.or(config.server.admin);
        config.server.threads = threads.or(config.server.threads);
        if let Some(address) = upstream {
            for upstream in &mut config.upstreams {
                (upstream.addresses, upstream.weights) = (vec![address.clone()], vec![1]);
            }
        }
        Ok(config)
    }
}

/// Changes when what the files hold does, or whether they are there.
fn print_of(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in files {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(tls::FILE_MAX_BYTES).read_to_end(&mut bytes));
        (read.is_ok(), bytes).hash(&mut hasher);
    }
    hasher.finish()
}

fn warn_of_what_needs_a_restart(before: &Active, config: &Config) {
    let (old, new) = (&before.server, &config.server);
    let changed = [
        ("server.listen", old.listen != new.listen),
        ("server.admin", old.admin != new.admin),
        ("server.tls.listen", tls_listen(old) != tls_listen(new)),
        ("server.threads", old.threads != new.threads),
        ("server.io", old.io != new.io),
        ("access_log.output", before.access_log.output != config.access_log.output),
    ];
    for (setting, _) in changed.iter().filter(|(_, changed)| *changed) {
        tracing::warn!(setting, "this change takes effect at the next start");
    }
}

fn tls_listen(server: &Server) -> Option<SocketAddr> {
    server.tls.as_ref().map(|tls| tls.listen)
}
