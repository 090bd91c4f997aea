//! Real repositories, as people have them.

use tempfile::TempDir;

use super::*;

async fn do_git(directory: &Path, arguments: &[&str]) -> String {
    let output = kit::process::command("git")
        .arg("-C")
        .arg(directory)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .output()
        .await
        .expect("git starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// A repository with one commit, in a directory whose name needs escaping; and the commit's id.
async fn repository() -> (TempDir, PathBuf, String) {
    let parent = tempfile::tempdir().expect("a directory");
    let root = parent.path().canonicalize().expect("exists").join("a b#c%d");
    std::fs::create_dir_all(root.join("sub")).expect("creates");
    do_git(&root, &["init", "-q"]).await;
    std::fs::write(root.join("sub/file"), "1").expect("writes");
    do_git(&root, &["add", "."]).await;
    do_git(&root, &["commit", "-qm", "one"]).await;
    let commit = do_git(&root, &["rev-parse", "HEAD"]).await;
    (parent, root, commit)
}

async fn refusal(repo: &str, reference: Option<&str>, directory: &Path) -> (Code, String) {
    let error = resolve(repo, reference, directory).await.expect_err("is refused");
    let failure = crate::exit::classify(&error);
    assert!(failure.help.is_some(), "{failure:?}");
    (failure.code, failure.message)
}

#[tokio::test]
async fn a_path_becomes_an_escaped_url_and_a_full_commit_wherever_in_the_tree_it_points() {
    let (_parent, root, commit) = repository().await;
    let parent = root.parent().expect("has one").display();
    let expect = Source {
        repository: format!("file://{parent}/a%20b%23c%25d"),
        reference: Some(commit.clone()),
        uncommitted_files: 0,
    };
    assert_eq!(resolve(".", None, &root).await.expect("resolves"), expect);
    assert_eq!(resolve(".", None, &root.join("sub")).await.expect("resolves"), expect);
    assert_eq!(resolve("a b#c%d/sub", Some("main"), root.parent().expect("has one")).await.expect("resolves"), expect);
    assert_eq!(
        resolve(&root.display().to_string(), Some(&commit[..9]), Path::new("/")).await.expect("resolves"),
        expect
    );
}

#[tokio::test]
async fn a_repository_without_a_name_is_not_the_current_directory() {
    let (_parent, root, _) = repository().await;
    for unset in ["", " "] {
        assert_eq!(refusal(unset, None, &root).await, (Code::Usage, "--repo is empty".into()));
    }
}

#[tokio::test]
async fn a_tag_is_the_commit_it_points_at() {
    let (_parent, root, commit) = repository().await;
    do_git(&root, &["tag", "-am", "first", "v1"]).await;
    assert_eq!(resolve(".", Some("v1"), &root).await.expect("resolves").reference, Some(commit));
}

#[tokio::test]
async fn what_is_not_committed_is_counted() {
    let (_parent, root, commit) = repository().await;
    std::fs::write(root.join("sub/file"), "2").expect("writes");
    std::fs::write(root.join("new\nname"), "").expect("writes");
    let source = resolve(".", None, &root).await.expect("resolves");
    assert_eq!((source.reference, source.uncommitted_files), (Some(commit), 2));
}

#[tokio::test]
async fn a_bare_repository_is_one_too() {
    let (parent, root, commit) = repository().await;
    let bare = parent.path().canonicalize().expect("exists").join("bare.git");
    do_git(&root, &["clone", "-q", "--bare", ".", &bare.display().to_string()]).await;
    let source = resolve(".", None, &bare).await.expect("resolves");
    let repository = format!("file://{}", bare.display());
    assert_eq!(source, Source { repository, reference: Some(commit), uncommitted_files: 0 });
}

#[tokio::test]
async fn a_url_and_its_ref_are_passed_on_as_they_are() {
    let source = resolve("https://example.org/owner/name", Some("topic"), Path::new("/")).await.expect("resolves");
    let (repository, reference) = ("https://example.org/owner/name".into(), Some("topic".into()));
    assert_eq!(source, Source { repository, reference, uncommitted_files: 0 });
}

#[tokio::test]
async fn a_commit_that_only_a_machine_may_know_is_passed_on_and_what_is_no_commit_here_is_refused() {
    let (_parent, root, _) = repository().await;
    let kept = "5f9b1a0c".repeat(5);
    assert_eq!(resolve(".", Some(&kept), &root).await.expect("resolves").reference, Some(kept.clone()));
    let file = do_git(&root, &["rev-parse", "HEAD:sub/file"]).await;
    for reference in [&kept[1..], &file] {
        assert_eq!(refusal(".", Some(reference), &root).await.0, Code::Data, "{reference}");
    }
}

#[tokio::test]
async fn an_unknown_ref_is_refused_before_any_work() {
    let (_parent, root, _) = repository().await;
    for reference in ["nosuch", "--all", "", "main:sub/file", "0000000000000000000000000000000000000000"] {
        let (code, message) = refusal(".", Some(reference), &root).await;
        assert_eq!(code, Code::Data, "{reference}");
        assert!(message.contains("no branch, tag or commit"), "{message}");
    }
}

#[tokio::test]
async fn a_repository_without_commits_is_said_to_have_none() {
    let parent = tempfile::tempdir().expect("a directory");
    do_git(parent.path(), &["init", "-q"]).await;
    let (code, message) = refusal(".", None, parent.path()).await;
    assert_eq!(code, Code::Data);
    assert!(message.ends_with("has no commits yet"), "{message}");
}

#[tokio::test]
async fn a_path_without_a_repository_is_not_found() {
    let parent = tempfile::tempdir().expect("a directory");
    std::fs::write(parent.path().join("file"), "").expect("writes");
    for (repo, message) in
        [(".", "is not in a git repository"), ("nosuch", "there is no repository nosuch"), ("file", "is a file")]
    {
        let (code, said) = refusal(repo, None, parent.path()).await;
        assert_eq!(code, Code::NotFound, "{repo}");
        assert!(said.contains(message), "{said}");
    }
}

#[tokio::test]
async fn an_address_in_the_manner_of_scp_is_answered_with_its_url() {
    let error = resolve("git@example.org:owner/name", None, Path::new("/")).await.expect_err("is refused");
    let help = crate::exit::classify(&error).help.expect("a cure");
    assert!(help.contains("ssh://git@example.org/owner/name"), "{help}");
}
