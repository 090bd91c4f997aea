//! The files as a power cut could leave them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kit::Chance;

use crate::trace::Step;

/// The name under which the folder itself is synced.
const FOLDER: &str = "";
/// What a disk writes whole.
const SECTOR: usize = 512;

/// Writes the files of a cut at the given line. What was synced before is there; what was not
/// is there, missing, or torn, as chance has it.
pub(crate) fn write_as_of(steps: &[Step], line: usize, chance: &Chance, folder: &Path) {
    let syncs = Syncs::of(steps, line);
    let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for step in steps.iter().take_while(|step| step.began() <= line) {
        match step {
            Step::Write { ended, file, place, bytes, .. } => {
                let kept = if syncs.cover(file, *ended) { bytes.len() } else { part_of(bytes.len(), chance) };
                let content = files.entry(file).or_default();
                if kept == 0 {
                    continue;
                }
                content.resize(content.len().max(place + kept), 0);
                content[*place..][..kept].copy_from_slice(&bytes[..kept]);
            }
            Step::Truncate { ended, file, length, .. } => {
                if syncs.cover(file, *ended) || chance.below(2) == 0 {
                    files.entry(file).or_default().truncate(*length);
                }
            }
            Step::Remove { ended, file, .. } => {
                if syncs.cover(FOLDER, *ended) || chance.below(2) == 0 {
                    files.remove(file.as_str());
                }
            }
            Step::Sync { .. } | Step::Tell { .. } => (),
        }
    }
    fs::create_dir_all(folder).expect("a new folder");
    for (name, content) in files {
        fs::write(folder.join(name), content).expect("a new file");
    }
}

/// For each file, when the last sync began that had ended before the cut.
struct Syncs<'a>(BTreeMap<&'a str, usize>);

impl<'a> Syncs<'a> {
    fn of(steps: &'a [Step], line: usize) -> Self {
        let mut last = BTreeMap::new();
        for step in steps {
            if let Step::Sync { began, ended, file } = step
                && *ended <= line
            {
                last.insert(file.as_str(), *began);
            }
        }
        Self(last)
    }

    /// Whether what was done at that line is on disk.
    fn cover(&self, file: &str, done: usize) -> bool {
        self.0.get(file).is_some_and(|began| done < *began)
    }
}

/// A number below the bound.
pub(crate) fn below(bound: usize, chance: &Chance) -> usize {
    usize::try_from(chance.below(bound as u64)).expect("smaller than the bound")
}

/// All of it, nothing, or some sectors from its beginning.
fn part_of(length: usize, chance: &Chance) -> usize {
    match chance.below(3) {
        0 => 0,
        1 => length,
        _ => below(length / SECTOR + 1, chance) * SECTOR,
    }
}
