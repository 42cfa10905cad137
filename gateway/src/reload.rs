//! The configuration file: read, compared, and taken or refused while requests go on.

use crate::active::Active;
use crate::config::{Config, FILE_MAX_BYTES};
use crate::server::Options;
use crate::worker::Shared;
use anyhow::{Context, bail};
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
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
    /// None while the next look has to read the text whatever the stamp says.
    stamp: Option<Stamp>,
    text: String,
    /// Configurations that requests are still served under. They are dropped here and not by the last request:
    /// with 100,000 routes that takes long enough to be felt.
    retired: Vec<Arc<Active>>,
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
    /// Reads the file for the first time; a fault in it is an error that shows file, line and column.
    pub fn open(options: &Options) -> anyhow::Result<(Source, Config)> {
        let mut source = Source {
            options: options.clone(),
            stamp: None,
            text: String::new(),
            retired: Vec::new(),
        };
        let (stamp, text) = source.read()?;
        let config = source.parse(&text)?;
        (source.stamp, source.text) = (stamp, text);
        Ok((source, config))
    }

    /// Takes the file if it has changed. One that is not valid is logged, and what is in force stays.
    pub fn look(&mut self, shared: &Shared) {
        self.retired.retain(|active| Arc::strong_count(active) > 1);
        let stamp = std::fs::metadata(&self.options.config).ok().map(|metadata| Stamp::of(&metadata));
        if stamp.is_some() && stamp == self.stamp {
            return;
        }
        self.take(shared);
    }

    /// Reads the file whatever its time stamp says, and takes it if its text has changed.
    pub fn take(&mut self, shared: &Shared) {
        let path = self.options.config.display().to_string();
        let outcome = self.read().and_then(|(stamp, text)| {
            self.stamp = stamp;
            if text == self.text {
                return Ok(None);
            }
            self.text = text;
            self.parse(&self.text).map(Some)
        });
        match outcome {
            Ok(None) => {}
            Ok(Some(config)) => {
                let before = shared.active.load();
                warn_of_what_needs_a_restart(&before, &config);
                let active = Active::build(config, Some(&before), shared.threads);
                tracing::info!(%path, routes = active.routes.len(), "the configuration was reloaded");
                self.retired.push(shared.active.swap(Arc::new(active)));
                shared.metrics.reloads_taken.add(1);
            }
            Err(error) => {
                tracing::error!("the configuration stays as it was: {error:#}");
                shared.metrics.reloads_refused.add(1);
            }
        }
    }

    /// The text, and the stamp if it has settled.
    fn read(&self) -> anyhow::Result<(Option<Stamp>, String)> {
        let path = self.options.config.display();
        let file = File::open(&self.options.config).with_context(|| format!("cannot open {path}"))?;
        let stamp = Stamp::of(&file.metadata().with_context(|| format!("cannot look at {path}"))?);
        let mut text = String::new();
        let read = file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text);
        read.with_context(|| format!("cannot read {path}"))?;
        if text.len() as u64 > FILE_MAX_BYTES {
            bail!("{path} is longer than {FILE_MAX_BYTES} bytes");
        }
        Ok((Some(stamp).filter(Stamp::has_settled), text))
    }

    fn parse(&self, text: &str) -> anyhow::Result<Config> {
        let path = self.options.config.display();
        let mut config = Config::parse(text).map_err(|error| anyhow::anyhow!("{path}:{error}"))?;
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

fn warn_of_what_needs_a_restart(before: &Active, config: &Config) {
    let (old, new) = (&before.server, &config.server);
    let changed = [
        ("server.listen", old.listen != new.listen),
        ("server.admin", old.admin != new.admin),
        ("server.threads", old.threads != new.threads),
        ("access_log.output", before.access_log.output != config.access_log.output),
    ];
    for (setting, _) in changed.iter().filter(|(_, changed)| *changed) {
        tracing::warn!(setting, "this change takes effect at the next start");
    }
}
