//! The schema is written down (row T-1.11b): each table of each database in a file of `control-plane/schema`.
//! Whoever changes it by a migration changes its file too, and a reviewer sees what became of the whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kernel::Db;
use kernel::schema::{describe, differences};

fn read(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).into_iter().flatten().map(|file| file.expect("can be listed").path());
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("has a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("is text"))
    };
    files.map(read).collect()
}

/// A rule of row-level security without its text, which each version of Postgres writes in its own way.
fn plain(line: &str) -> String {
    match line.split_once(" USING ").filter(|_| line.starts_with("policy ")) {
        Some((name, text)) if text.ends_with(" FORCED") => format!("{name} FORCED\n"),
        Some((name, _)) => format!("{name}\n"),
        None => format!("{line}\n"),
    }
}

kernel::on_both! { control_plane::migrations();
    async fn the_schema_is_as_it_is_written_down(ctx) {
        let dialect = match ctx.db {
            Db::Sqlite { .. } => "sqlite",
            Db::Postgres(_) => "postgres",
        };
        let mut found = describe(&mut ctx.read("test.describe").await.expect("begins")).await.expect("describes");
        found.values_mut().for_each(|text| *text = text.lines().map(plain).collect());
        let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(dialect);
        let different = differences(&found, &read(&written));
        if different.is_empty() {
            return;
        }
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schema").join(dialect);
        fs::remove_dir_all(&made).ok();
        fs::create_dir_all(&made).expect("a folder");
        for (table, text) in found {
            fs::write(made.join(table + ".txt"), text).expect("a file");
        }
        let (made, written) = (made.display(), written.display());
        panic!("if it is meant: rm -r {written}; cp -r {made} {written}\n{}", different.join("\n"));
    }
}
