//! Executions of one repository at once, while its mirror is put in order.

use super::*;
use crate::workspace;

/// So many packs that the mirror is put in order.
const PACKS: usize = 22;
const ROUNDS: usize = 3;

/// What an execution of a branch has checked out, and the commit that it is at.
async fn check_out(room: &Room, remote: &str, branch: &str) -> (String, String) {
    let spec = TaskSpec {
        repository: remote.to_owned(),
        reference: Some(branch.to_owned()),
        command: vec!["true".into()],
        env: Default::default(),
        ..TaskSpec::default()
    };
    let story = Story::new(room.recorder.clone(), subject(), Orders::none());
    let obtained = obtain(room, &story, &spec, Told::ByFiles).await.expect("obtained");
    let paths = workspace::create(room, story.orders(), story.subject(), remote, &obtained).await.expect("created");
    assert_eq!(git(&paths.tree, &["status", "--porcelain"]).await, "", "{branch}");
    git(&paths.tree, &["fsck", "--connectivity-only", "HEAD"]).await;
    (obtained.commit, std::fs::read_to_string(paths.tree.join("of")).expect("reads"))
}

#[tokio::test]
async fn executions_at_once_each_get_their_branch_out_of_one_mirror_while_it_is_put_in_order() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let (url, branches) = (remote.url(), ["one", "two", "three", "four"]);
    let mirror = fetch(&mut scene, &url, None).await.0.expect("cloned").mirror;
    for round in 0..ROUNDS {
        for number in 0..PACKS {
            remote.commit(&[("file", &format!("{round} {number}"))]).await;
            let refspec = "+refs/heads/*:refs/remotes/origin/*";
            git(&mirror, &["-c", "fetch.unpackLimit=1", "fetch", "--quiet", &url, refspec]).await;
        }
        assert!(packs(&mirror) >= PACKS, "{}", packs(&mirror));
        let mut expect = Vec::new();
        for branch in branches {
            remote.git(&["checkout", "--quiet", "-B", branch]).await;
            let text = format!("{branch} {round}");
            expect.push((remote.commit(&[("of", &text)]).await, text));
        }
        remote.git(&["checkout", "--quiet", "main"]).await;
        let room = scene.room.clone();
        let orders = Orders::none();
        let at_once = async {
            let [one, two, three, four] = branches.map(|branch| check_out(&room, &url, branch));
            tokio::join!(one, two, three, four, upkeep::keep(&room, &url, &orders))
        };
        let ((one, two, three, four, ()), events) = scene.collect(at_once).await;
        assert_eq!([one, two, three, four].as_slice(), expect);
        assert_eq!(kinds(&events), [""; 0], "nothing was damaged");
        git(&mirror, &["fsck", "--strict"]).await;
        assert!(packs(&mirror) < PACKS, "{}", packs(&mirror));
    }
}
