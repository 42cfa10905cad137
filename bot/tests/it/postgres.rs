//! A throw-away PostgreSQL for this run of the tests: started when first wanted, gone when this process is, however it
//! ends.

use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

const USER: &str = "paceline";

/// Makes and runs the cluster in the directory `$1` with the programs of `$2`, synced to the disk or not as `$3` says,
/// until standard input closes: that is when the tests' process has ended, well or badly.
const WATCH: &str = r#"
"$2/initdb" -D "$1/data" -U paceline -A trust -E UTF8 --locale=C --no-sync >"$1/log" 2>&1 || exit 1
"$2/postgres" -D "$1/data" -c listen_addresses= -c unix_socket_directories="$1" -c max_connections=400 \
    -c fsync=$3 -c full_page_writes=$3 -c synchronous_commit=$3 >>"$1/log" 2>&1 &
server=$!
until "$2/pg_isready" -q -h "$1" -U paceline -d postgres; do
    kill -0 $server 2>/dev/null || exit 1
    sleep 0.05
done
echo ready
exec 1>&-
cat >/dev/null
kill -INT $server
wait $server
cd / && rm -rf "$1"
"#;

pub struct Cluster {
    programs: PathBuf,
    dir: PathBuf,
    databases: AtomicU32,
    /// Databases that tests have left.
    free: Mutex<Vec<String>>,
    /// Its standard input closes when this process ends.
    _watch: Child,
}

/// Whether tests on PostgreSQL can run. Said once when not, and a failure under CI.
pub fn available() -> bool {
    cluster().is_some()
}

pub fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| match programs() {
            Some(programs) => Some(Cluster::start(programs)),
            None => {
                let missing = "PostgreSQL is not installed (Debian: apt-get install postgresql)";
                assert!(std::env::var_os("CI").is_none(), "{missing}");
                // Not by a macro, whose output the test harness keeps to itself.
                let _ = writeln!(std::io::stderr(), "{missing}: the tests on it are skipped");
                None
            }
        })
        .as_ref()
}

/// The newest of Debian's versions, or what is on the path.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").exists())
        .max();
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
    };
    newest.map(|(_, programs)| programs).or_else(on_path)
}

impl Cluster {
    fn start(programs: PathBuf) -> Self {
        let dir = tempfile::tempdir().unwrap().keep();
        let mut command = Command::new("sh");
        // What is thrown away need not be on disk; who measures wants it there.
        let durable = std::env::var("PACELINE_TEST_DURABLE").is_ok_and(|wish| wish == "on");
        command.args(["-c", WATCH, "sh"]).arg(&dir).arg(&programs).arg(if durable { "on" } else { "off" });
        command.current_dir(&dir);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A Ctrl-C is for the tests; the cluster ends after them.
        command.process_group(0);
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            let (uid, gid) = plain_user();
            chown(&dir, Some(uid), Some(gid)).unwrap();
            command.uid(uid).gid(gid);
        }
        let mut watch = command.spawn().unwrap();
        let mut said = String::new();
        watch.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert_eq!(said, "ready\n", "PostgreSQL does not start:\n{}", log());
        sqlx::any::install_default_drivers();
        Self { programs, dir, databases: AtomicU32::new(0), free: Mutex::default(), _watch: watch }
    }

    pub fn url(&self, database: &str) -> String {
        let socket: String = url::form_urlencoded::byte_serialize(path_bytes(&self.dir)).collect();
        format!("postgres://{USER}@localhost/{database}?host={socket}")
    }

    /// An empty database: one that a test has left, or a new one, which takes half a second to make. Returns its name.
    pub async fn take_database(&self) -> String {
        if let Some(name) = self.free.lock().unwrap().pop() {
            return name;
        }
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = AnyConnection::connect(&self.url("postgres")).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"));
        sqlx::query(create).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        name
    }

    /// Empties a database for the next test, beside this one. What a failed test has left is never used again: something
    /// of it may still be at work there.
    pub fn leave_database(&'static self, name: String) {
        if std::thread::panicking() {
            return;
        }
        std::thread::spawn(move || {
            let mut command = Command::new(self.programs.join("psql"));
            command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--username", USER, "--host"]);
            command.arg(&self.dir).args(["--dbname", &name]);
            for sql in [CLEAR_OUT, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public"] {
                command.args(["--command", sql]);
            }
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if command.status().is_ok_and(|ended| ended.success()) {
                self.free.lock().unwrap().push(name);
            }
        });
    }
}

/// Ends the other sessions of a database.
const CLEAR_OUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

fn path_bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}

/// Whom root starts PostgreSQL as, which refuses to run as root.
fn plain_user() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).expect("a user of the name postgres or nobody")
}
