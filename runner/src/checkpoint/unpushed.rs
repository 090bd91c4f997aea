//! Commits that a command made and nobody pushed: kept in the mirror under
//! `refs/bifrost`, so that they outlive their workspace.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use wire::id::ExecutionId;

use crate::git::{Git, GitError, Place};
use crate::mirror::fetch_arguments;
use crate::orders::Orders;
use crate::workspace::{Marker, Paths};

/// Copies unpushed commits into the mirror. Gives back the references they now have there.
pub(crate) async fn keep(git: &Git, paths: &Paths, marker: &Marker) -> Result<Vec<String>, GitError> {
    let repository = paths.tree.join(".git");
    if is_untouched(&repository, &marker.commit) {
        return Ok(Vec::new());
    }
    let orders = Orders::none();
    let arguments = ["for-each-ref", "--format=%(objectname) %(refname)"];
    let listed = git.run(Place::bare(&repository), arguments, b"", &orders).await?;
    let head = fs::read_to_string(repository.join("HEAD")).unwrap_or_default();
    let kept = plan(&String::from_utf8_lossy(&listed), head.trim(), &marker.commit, marker.subject.execution_id);
    if !kept.is_empty() {
        let mut arguments = fetch_arguments(paths.tree.as_os_str());
        arguments.extend(kept.iter().map(|(from, to)| format!("+{from}:{to}").into()));
        git.run(Place::bare(&paths.mirror), arguments, b"", &orders).await?;
    }
    Ok(kept.into_iter().map(|(_, to)| to).collect())
}

/// Whether the repository has no branch, no stash, and the HEAD it was given. Spares git a start.
fn is_untouched(repository: &Path, commit: &str) -> bool {
    let head = fs::read_to_string(repository.join("HEAD")).unwrap_or_default();
    let packed = fs::read_to_string(repository.join("packed-refs")).unwrap_or_default();
    let no_branch = fs::read_dir(repository.join("refs/heads")).is_ok_and(|mut branches| branches.next().is_none());
    head.trim() == commit
        && no_branch
        && !repository.join("refs/stash").exists()
        && !packed.contains(" refs/heads/")
        && !packed.contains(" refs/stash")
}

/// Which references to keep, and under which names (pure). What a remote branch points at is pushed.
fn plan(listed: &str, head: &str, commit: &str, id: ExecutionId) -> Vec<(String, String)> {
    let references: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut known: BTreeSet<&str> =
        references.iter().filter(|(_, name)| name.starts_with("refs/remotes/")).map(|(object, _)| *object).collect();
    known.insert(commit);
    let head = match head.strip_prefix("ref: ") {
        Some(branch) => references.iter().find(|(_, name)| *name == branch).map(|(object, _)| *object),
        None => Some(head),
    };
    let mut kept = Vec::new();
    if head.is_some_and(|head| !head.is_empty() && !known.contains(head)) {
        kept.push(("HEAD".to_owned(), format!("refs/bifrost/wip/{id}")));
    }
    for (object, name) in references {
        if known.contains(object) {
            continue;
        }
        if let Some(branch) = name.strip_prefix("refs/heads/") {
            kept.push((name.to_owned(), format!("refs/bifrost/branches/{id}/{branch}")));
        } else if name == "refs/stash" {
            kept.push((name.to_owned(), format!("refs/bifrost/stashes/{id}")));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_remote_branch_has_is_kept() {
        let id = ExecutionId::from(uuid::Uuid::nil());
        let listed = "a1 refs/heads/old\nb2 refs/heads/pushed\nc3 refs/heads/fix/it\nb2 refs/remotes/origin/pushed\nd4 refs/stash\n";
        let sources = |head: &str| -> Vec<String> {
            plan(listed, head, "a1", id)
                .into_iter()
                .map(|(from, to)| format!("{from} {}", to.replace(&id.to_string(), "ID")))
                .collect()
        };
        let others = ["refs/heads/fix/it refs/bifrost/branches/ID/fix/it", "refs/stash refs/bifrost/stashes/ID"];
        assert_eq!(sources("a1"), others);
        assert_eq!(sources("ref: refs/heads/pushed"), others);
        assert_eq!(sources("ref: refs/heads/unborn"), others);
        assert_eq!(sources("ref: refs/heads/fix/it"), [&["HEAD refs/bifrost/wip/ID"], &others[..]].concat());
        assert_eq!(sources("e5"), [&["HEAD refs/bifrost/wip/ID"], &others[..]].concat());
    }
}
