//! The git side of the stand-in's repositories: commits made and listed, objects copied between forks.

use super::answer::Answer;
use super::json;
use super::state::{Pull, Repo};
use anyhow::Context;
use git2::{Oid, Repository};
use perfsuite::model::Sha;
use serde_json::{Value, json};
use std::path::Path;

/// The tip of a pull request's base branch; its head when the branch is gone.
pub(super) fn base_sha(repo: &Repo, pull: &Pull) -> String {
    tip(&repo.path, &pull.base_ref).map_or_else(|_| pull.head_sha.to_string(), |sha| sha.to_string())
}

pub(super) fn has_commit(repo: &Repo, sha: &str) -> bool {
    let found = || Repository::open_bare(&repo.path)?.find_commit(Oid::from_str(sha)?).map(|_| ());
    sha.len() == 40 && found().is_ok()
}

/// As GitHub lists them: what the head has and the base does not, oldest first.
pub(super) fn pull_commits(repo: &Repo, pull: &Pull) -> Result<Vec<Value>, Answer> {
    let list = || -> Result<Vec<Value>, git2::Error> {
        let git = Repository::open_bare(&repo.path)?;
        let mut walk = git.revwalk()?;
        walk.set_sorting(git2::Sort::TOPOLOGICAL | git2::Sort::REVERSE)?;
        walk.push(Oid::from_str(pull.head_sha.as_str())?)?;
        walk.hide(Oid::from_str(&base_sha(repo, pull))?)?;
        let commits = walk.map(|id| {
            let commit = git.find_commit(id?)?;
            let author = commit.author();
            Ok(json!({
                "sha": commit.id().to_string(),
                "commit": {
                    "message": String::from_utf8_lossy(commit.message_bytes()),
                    "author": {
                        "name": String::from_utf8_lossy(author.name_bytes()),
                        "email": String::from_utf8_lossy(author.email_bytes()),
                        "date": json::time(author.when().seconds() * 1000),
                    },
                },
                "author": null,
                "parents": commit.parent_ids().map(|id| json!({ "sha": id.to_string() })).collect::<Vec<_>>(),
            }))
        });
        commits.collect()
    };
    list().map_err(|e| Answer::refuse(500, e.message()))
}

/// As GitHub lists them: merge base against head.
pub(super) fn pull_files(repo: &Repo, pull: &Pull) -> Result<Vec<Value>, Answer> {
    let list = || -> Result<Vec<Value>, git2::Error> {
        let git = Repository::open_bare(&repo.path)?;
        let head = Oid::from_str(pull.head_sha.as_str())?;
        let base = git.merge_base(Oid::from_str(&base_sha(repo, pull))?, head)?;
        let (from, to) = (git.find_commit(base)?.tree()?, git.find_commit(head)?.tree()?);
        let mut diff = git.diff_tree_to_tree(Some(&from), Some(&to), None)?;
        diff.find_similar(None)?;
        let files = diff.deltas().map(|delta| {
            let path =
                |file: git2::DiffFile<'_>| file.path_bytes().map(|p| String::from_utf8_lossy(p).into_owned());
            let (status, previous) = match delta.status() {
                git2::Delta::Added => ("added", None),
                git2::Delta::Deleted => ("removed", None),
                git2::Delta::Renamed => ("renamed", path(delta.old_file())),
                _ => ("modified", None),
            };
            let mut file = json!({ "filename": path(delta.new_file()), "status": status });
            if let Some(previous) = previous {
                file["previous_filename"] = json!(previous);
            }
            file
        });
        Ok(files.collect())
    };
    list().map_err(|e| Answer::refuse(500, e.message()))
}

pub(super) fn tip(git_dir: &Path, branch: &str) -> anyhow::Result<Sha> {
    let git = Repository::open_bare(git_dir)?;
    let id =
        git.refname_to_id(&format!("refs/heads/{branch}")).with_context(|| format!("branch {branch}"))?;
    Ok(id.to_string().parse()?)
}

pub(super) fn commit(
    git_dir: &Path,
    branch: &str,
    message: &str,
    files: &[(&str, Option<&[u8]>)],
    at_s: i64,
) -> anyhow::Result<Sha> {
    let git = Repository::open_bare(git_dir)?;
    let name = format!("refs/heads/{branch}");
    let parent = git.refname_to_id(&name).ok().map(|id| git.find_commit(id)).transpose()?;
    let mut index = git2::Index::new()?;
    if let Some(parent) = &parent {
        index.read_tree(&parent.tree()?)?;
    }
    for (path, content) in files {
        match content {
            None => index.remove(Path::new(path), 0)?,
            Some(content) => {
                let id = git.blob(content)?;
                index.add(&index_entry(path, id))?;
            }
        }
    }
    let tree = git.find_tree(index.write_tree_to(&git)?)?;
    let who = git2::Signature::new("Ada Example", "ada@example.com", &git2::Time::new(at_s, 0))?;
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    let id = git.commit(Some(&name), &who, &who, message, &tree, &parents)?;
    Ok(id.to_string().parse()?)
}

fn index_entry(path: &str, id: Oid) -> git2::IndexEntry {
    let zero = git2::IndexTime::new(0, 0);
    git2::IndexEntry {
        ctime: zero,
        mtime: zero,
        dev: 0,
        ino: 0,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.as_bytes().to_vec(),
    }
}

/// Copies what `tips` reach and `to` has not, as a pack.
pub(super) fn copy_objects(from: &Path, to: &Path, tips: &[Sha]) -> anyhow::Result<()> {
    let (from, to) = (Repository::open(from)?, Repository::open_bare(to)?);
    let mut walk = from.revwalk()?;
    for tip in tips {
        walk.push(Oid::from_str(tip.as_str())?)?;
    }
    for known in to.references()?.flatten().filter_map(|r| r.target()) {
        if from.find_commit(known).is_ok() {
            walk.hide(known)?;
        }
    }
    let mut pack = from.packbuilder()?;
    pack.insert_walk(&mut walk)?;
    let odb = to.odb()?;
    let mut writer = odb.packwriter()?;
    pack.foreach(|piece| std::io::Write::write_all(&mut writer, piece).is_ok())?;
    writer.commit()?;
    Ok(())
}
