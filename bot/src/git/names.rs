//! What a hostile name of a branch, or of a range, must never become: the property that is fuzzed.

use super::History;
use super::mirror::refspec_of_branch;
use std::cell::OnceCell;

thread_local! {
    /// One commit on `main`, for ranges to be looked up in.
    static REPOSITORY: OnceCell<(tempfile::TempDir, History)> = const { OnceCell::new() };
}

/// A branch's name becomes one refspec for one ref, or is refused; a range becomes two commits, or is refused.
pub(crate) fn hostile_names(name: &str) {
    if let Ok(spec) = refspec_of_branch(name) {
        let (from, to) = spec.split_once(':').expect("a refspec has two sides");
        assert_eq!(from, format!("+refs/heads/{name}"));
        // By git-check-ref-format(1): of control characters and blanks only ASCII's are forbidden.
        let plain = |c: char| !c.is_ascii_control() && !" *?[\\^~:".contains(c);
        assert!(name.chars().all(plain) && !name.contains(".."), "{name:?} means more than a branch");
        assert!(to.starts_with("refs/paceline/branch/") && !to.contains(':'), "{to}");
    }
    // The machine's owner writes ranges; regular expressions over the history are theirs to wait for.
    if name.contains(":/") || name.contains("^{/") {
        return;
    }
    REPOSITORY.with(|cell| {
        let (_, history) = cell.get_or_init(repository);
        if let Ok(range) = history.range(Some(name)) {
            assert_eq!(range.name, name);
            assert!(history.has(&range.base) && history.has(&range.head));
        }
    });
}

fn repository() -> (tempfile::TempDir, History) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut how = git2::RepositoryInitOptions::new();
    how.external_template(false).initial_head("main");
    let git = git2::Repository::init_opts(dir.path(), &how).expect("a repository");
    let who = git2::Signature::new("a", "a@example.org", &git2::Time::new(0, 0)).expect("a signature");
    let tree = git.treebuilder(None).and_then(|empty| empty.write()).expect("an empty tree");
    for message in ["feat: one", "feat: two"] {
        let tree = git.find_tree(tree).expect("the tree");
        let parent = git.head().ok().and_then(|head| head.peel_to_commit().ok());
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        git.commit(Some("HEAD"), &who, &who, message, &tree, &parents).expect("a commit");
    }
    (dir, History { git, local: true })
}
