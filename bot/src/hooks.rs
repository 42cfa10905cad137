//! `paceline review --install-hooks`: the same judgement before a commit and before a push, by git's own hooks.

use crate::error::UserError;
use crate::git::History;
use anyhow::Context;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// By this line a hook is known as ours, and may be replaced.
const MARK: &str = "# Made by `paceline review --install-hooks`; made anew by the same.";

/// Writes both hooks, and returns where. A hook that is somebody's own is never touched.
pub fn install(history: &History, program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let directory = history.hooks_dir().map_err(|error| UserError::new(error.to_string()))?;
    let hooks = [("commit-msg", commit_msg(program)), ("pre-push", pre_push(program))];
    let places: Vec<PathBuf> = hooks.iter().map(|(name, _)| directory.join(name)).collect();
    for place in &places {
        // Programs are hooks, too: what is no text is somebody's own as well.
        let ours = match fs::read(place) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).contains(MARK),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if !ours {
            let words = "is a hook of your own; call `paceline` from it, or move it away";
            return Err(UserError::new(format!("{} {words}", place.display())).into());
        }
    }
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for ((_, text), place) in hooks.iter().zip(&places) {
        // Removed first: a link in its place would be written through.
        let _ = fs::remove_file(place);
        fs::write(place, text).with_context(|| format!("cannot write {}", place.display()))?;
        fs::set_permissions(place, fs::Permissions::from_mode(0o755))?;
    }
    Ok(places)
}

/// Judges the message by the rules in the working tree. What cannot be judged stops nobody.
fn commit_msg(program: &Path) -> String {
    format!(
        "#!/bin/sh\n{MARK}\n\
         {} commits --format text --check -- \"$1\"\n\
         [ $? -ne 1 ] || {{ echo 'paceline: to commit all the same: git commit --no-verify' >&2; exit 1; }}\n",
        quoted(program)
    )
}

/// Judges what each pushed branch brings; a branch that is new to the remote, since the default branch.
fn pre_push(program: &Path) -> String {
    format!(
        "#!/bin/sh\n{MARK}\n\
         status=0\n\
         while read -r _ local _ remote; do\n  \
           case \"$local\" in *[!0]*) ;; *) continue ;; esac\n  \
           case \"$remote\" in\n    \
             *[!0]*) git cat-file -e \"$remote\" 2>/dev/null || continue; range=\"$remote..$local\" ;;\n    \
             *) [ \"$local\" = \"$(git rev-parse HEAD)\" ] || continue; range='' ;;\n  \
           esac\n  \
           {} review --no-measure --before-push ${{range:+\"$range\"}} >&2 </dev/null\n  \
           [ $? -ne 1 ] || status=1\n\
         done\n\
         [ $status -eq 0 ] || echo 'paceline: to push all the same: git push --no-verify' >&2\n\
         exit $status\n",
        quoted(program)
    )
}

/// As one word of a shell.
fn quoted(program: &Path) -> String {
    format!("'{}'", program.display().to_string().replace('\'', "'\\''"))
}
